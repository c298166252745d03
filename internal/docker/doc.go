// Package docker speaks to a Docker Engine: it finds the Dockerfile, builds,
// pushes one tag and says what the Engine holds.
//
// It talks the Engine API and starts no process: whatever docker command line
// is installed on the machine, or none, makes no difference. A build is
// solved by the BuildKit inside the Engine (frontend dockerfile.v0, exporter
// moby), reached through the Engine's /grpc and /session endpoints or, where
// those are gone, as native gRPC on the same socket. Only an Engine that has
// no BuildKit to offer, as one for Windows containers, gets the classic POST
// /build.
//
// Two facts shape the results. An Engine keeps images in one of two stores,
// and an image ID means a different thing in each: with the graphdriver store
// it is the digest of the image's configuration, with the containerd store it
// is the digest of the manifest or index. See [Image]. And what a push says
// about a digest is a claim in a stream of status lines, nothing more: the
// caller proves it against the registry. See [Pushed].
//
// Everything a build, an Engine or a registry says is foreign text. It leaves
// this package only through the writers and callbacks the caller gives, and
// through the text fields of errors; whoever prints it neutralises it first.
// Lines, tails, held output and error texts are bounded, so that neither a
// long log nor a large context makes the process grow.
//
// Credentials are asked for by host while they are needed, live in memory and
// are handed to the Engine alone, which does its own token exchange. Nothing
// is read from or written to docker's configuration folder.
package docker
