// Package task is the story of one run of ContentTrust@1: read, check, do, prove, tell, and always clean up.
//
// It is the only package that knows all the crafts (pipeline, registry, docker, trust); the crafts know nothing of each
// other and nothing of this story. What a step returns is a fact; only explain.go turns facts into advice, and only
// report.go turns them into log lines, variables and the summary.
//
// The agent starts a task three times, and so there are three entrances:
//
//   - [Pre] runs before the checkout. It fetches the delegation key, because the ticket for the download expires while a
//     long job runs, and it makes every check that needs no variable of a later step: a wrong passphrase fails the job
//     before its first test.
//   - [Main] does the work.
//   - [Post] removes what is left. Usually that is nothing, because Main has cleaned up already.
//
// Nothing here reads the process environment, the clock or the network by itself: [Deps] brings them.
package task
