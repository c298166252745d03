// Package rig puts the real parts together for end-to-end tests: a Docker
// Engine, docker-registry and notary-server behind one door that behaves like
// Azure Container Registry (package registrytest), and people who use them with
// the docker CLI 28 and with notary.
//
// The people are there for two reasons. They set up what an administrator sets
// up before a pipeline runs (Person.InitRepository), so that the trust data
// under test was made by others; and they judge (Person.TrustInspect,
// Person.TrustedPull, Person.NotaryList): what our program signed counts as
// signed only when the tools of the field say so.
//
// # Engines
//
// An Engine comes in kinds, because the two image stores answer a push
// differently: Debian's dockerd 20.10 with the graphdriver store, today's
// dockerd with the containerd store, and whatever listens at DOCKER_HOST.
// The private ones have a folder, a socket, a containerd and a bridge of their
// own, so they may run beside an Engine of the machine; they need root.
//
// # Stopping
//
// Everything that is started has a keeper: a shell in a session of its own that
// is told what there is to clean away and does it when its input ends. Close
// ends that input. So does the death of the test process, however it comes, and
// no daemon, mount or bridge outlives it.
//
// # Where programs come from
//
// Debian packages where Debian has them (Packages installs what is missing).
// What Debian lacks is built from the pinned modules in tools/ into .cache/bin,
// in a folder named after the hash of what it was built from.
//
// Nothing takes a testing.TB; cmd/playground may use these parts too.
package rig
