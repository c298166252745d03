// Package adotest is an Azure DevOps server for tests and for the playground, as
// far as a task talks to one: secure files with their download tickets, and the
// record of pushed images (deployment/imagedetails).
//
// It is a server, not a mock: the real client asks it over a real connection.
// It is stricter than the real one where a client's slip would otherwise go
// unseen: paths are compared exactly as to case, a request needs an api-version
// and a token, and whatever it does not know is a failure ([Server.Failures]).
// Faults ([Fault]) are answered to as many requests as asked for, in order.
//
// What the answers look like is taken from the issues about DownloadSecureFile
// in github.com/microsoft/azure-pipelines-tasks and from azure-devops-node-api;
// which status a real server gives an expired ticket is not known, so
// Options.ExpiredStatus can be set and defaults to the nastiest, 500.
package adotest
