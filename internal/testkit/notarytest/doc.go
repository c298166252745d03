// Package notarytest is a Notary v1 server that lives in memory, the owner who
// administers its repositories, and a way to start the real server instead.
//
// The server answers the routes a client of Docker Content Trust uses below
// /v2/<GUN>/_trust/tuf/, keeps the snapshot and timestamp keys, stores every
// version, and judges an upload as the real one does: the same validation order,
// the same error codes. What it adds is the means to make things go wrong:
// [Server.Mutate] changes what is served, [Server.Fail] breaks requests before or
// after their effect, [Server.Edit] puts metadata into it that no upload could.
//
// The behaviour is that of notary-server 0.7.0 (server/server.go,
// server/handlers). One contract test runs against both, so that the two cannot
// drift apart.
//
// Words of Notary used here: a GUN is the name of a collection, which is the
// repository's name with its registry host; a role is one signed file of it
// (root, targets, snapshot, timestamp, or a delegation such as targets/releases).
package notarytest
