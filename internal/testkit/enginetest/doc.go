// Package enginetest is a Docker Engine to test against: an HTTP server that
// speaks the part of the Engine API this project uses, with a BuildKit control
// service behind it, and lets a test say what goes wrong. The real docker and
// BuildKit clients talk to it; it builds and pushes nothing.
package enginetest
