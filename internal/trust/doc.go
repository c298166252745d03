// Package trust speaks Notary v1, the protocol behind Docker Content Trust: it reads
// keys, keeps a key store, reads what is signed in a repository, signs tags, and
// proves that they are signed.
//
// # The idea
//
// A repository's trust data is a handful of signed JSON files on a trust server.
// The root names the keys of all others. The targets file names the delegations,
// that is who else may sign; each delegation has a file of its own, which maps a
// tag to the digest and size of an image. Snapshot and timestamp, signed by the
// server, say which versions belong together now.
//
// [Repository.Read] fetches and verifies all of it, always from the server and
// never from a cache on disk, and returns a [State], which is plain data: whose
// keys may sign what, what is signed, what expires when. [State.Roles] answers who
// may sign a tag. [Repository.Sign] adds any number of tags in one publish, on top
// of what others have published meanwhile. [State.Prove] says, from a State that was
// read afterwards, whether the tags are really there.
//
// Nothing in this package creates a repository's trust by accident: Sign cannot
// upload a root, whatever the library below would like to do.
//
// # Notary's words
//
// They stay inside this package:
//
//   - GUN: the name of a repository with its registry host, "host/path".
//   - role: one signed file, "root", "targets", "snapshot", "timestamp", or a
//     delegation below targets.
//   - "targets/releases": the delegation that docker reads. A tag that is in no
//     other is invisible to docker pull.
//   - "targets/alice": the delegation of the signer alice. Docker signs a tag into
//     this one and into targets/releases.
//   - key ID: the SHA-256 of a public key in Notary's canonical JSON. The root's
//     keys are wrapped in a certificate per repository, so they have two: the ID in
//     root.json, which "docker trust inspect" shows, and the canonical ID, which is
//     that of the bare key and the name of its file.
//   - witness: sign a file again as it is, with a new expiry.
//
// # The library
//
// The verification and the signing are those of github.com/theupdateframework/notary,
// the library inside docker. It is used for its algorithms, not for its plumbing:
// requests go through a store of our own (remote.go), because the library's has no
// context, reads up to 100 MiB, and drops what the server says. Its errors do not
// unwrap; they are translated here, once, into the types of errors.go. It writes to
// logrus' standard logger, which [Open] silences for the whole process.
package trust
