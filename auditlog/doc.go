// Package auditlog keeps the record of what was done through a session, so that
// it can be shown afterwards who did what, and that nobody touched the record.
//
// # Format
//
// A log is a directory of files of JSON lines, one [Record] each. Every record
// repeats the hash of the one before it and ends in its own, SHA-256 over the
// bytes of the line before the hash field; the sequence runs on from file to
// file. Changing, removing, adding or moving a record breaks the chain at a
// place that [Verify] names. Records of the operation "checkpoint" sign the
// chain up to there with the session's Ed25519 key, and the file "head" holds
// the last one durably written, signed: without the key nobody can make a new
// chain, nor cut the end off the old one unseen.
//
// # Durability
//
// A record that must be durable (a denial) is on stable storage before [Log.Append]
// returns; several waiting ones share one sync. The others are written in groups
// shortly after, and synced with the next checkpoint. With each sync the file is
// looked at: one that was taken away or cut meanwhile is a failure to write like
// any other. When writing fails, every later Append answers the error, so that
// nothing goes on unrecorded; for want of room, only until there is some again.
//
// A crash can leave a torn last line, which the next [Open] cuts off and which
// Verify reports as such; any other damage is an error.
package auditlog
