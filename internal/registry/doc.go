// Package registry is everything the task asks of a container registry: names,
// tokens, and manifests by their bytes.
//
// # Names
//
// A repository is named in full, host included, as Notary names trust data; there
// is no implied host and no implied tag. What docker would quietly repair is an
// error here that says what was meant.
//
// # One token transport
//
// A registry and its Notary server use the same protocol
// (distribution, docs/spec/auth/token.md): GET /v2/ answers with a challenge,
// the challenge names a token server, the token server turns a credential into
// a token for a scope. A Client does this once for both when they are on one
// host, keeps each token for its life, and lets requests that come at the same
// time share one fetch. TrustTransport lends it to whoever talks Notary.
//
// The credential is the thing to protect. A challenge is a registry's word, and
// so is a redirect; both can name another host. So a token server must be on
// the registry's own host or on a list, and below everything else stands a
// guard that lets no request with a credential out to any other place,
// whatever the code above it does.
//
// # Bytes, not words
//
// A digest is what this package has computed over the bytes it has seen. What a
// registry says about a digest is compared with that and never believed in its
// place.
package registry
