// Package registrytest is a registry's front door as Azure Container Registry
// builds it: one TLS host that answers the challenge on /v2/, gives tokens on
// /oauth2/token, and hands requests on by their path, to a Notary server for
// /v2/<name>/_trust/ and to a registry for the rest.
//
// The parts behind the door are http.Handlers. A test that needs no more than
// plausible answers leaves them out and gets a registry in memory, whose tokens
// the Front verifies itself. The end-to-end rig puts reverse proxies to a real
// docker-registry and a real notary-server there; they verify the same tokens
// on their own, because these are real ones: JWTs signed with ES256 whose x5c
// header leads to SigningCertPEM (the libtrust reading of them is in
// docker/distribution, registry/auth/token).
//
// Everything that goes wrong in practice can be switched on while a client is
// running: Intercept, SetDelay, SetRealm, RedirectBlobs, LockTag, SetDeletion,
// RevokeTokens and SetTokenLife. Requests tells afterwards what was asked, by
// which connection, and with which kind of credential.
//
// Nothing here takes a testing.TB: cmd/playground runs the same servers.
package registrytest
