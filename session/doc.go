// Package session is the composition root: it opens a session, stacks its
// layers, runs capsules on them, mounts them, and lets other processes use what
// one process has open.
//
// # Owner and clients
//
// One process at a time owns a session: it holds the lock in the session's
// directory, has the one open overlay, and serves the control socket. [Attach]
// gives a command a [Conn]: where nobody owns the session, the command's own
// process becomes the owner for as long as it works ([Owner]); otherwise it asks
// the owner over the socket. Both sides of the socket are the same interface,
// and the server calls the same methods of Owner as a command that owns the
// session itself, so that both ways answer the same.
//
// An owner ends in order when its work is done: it unmounts, answers others as
// long as there are any, takes no more requests, closes the overlay, and gives
// the lock up last. A request that no owner has taken because one was just
// ending is asked of the next, which may be the command's own process. An owner
// that is killed leaves a free lock, a socket that nobody answers, and perhaps a
// dead mount; [Recover] and [Own] clear those away.
//
// # Lock order
//
// Owner.mu is a leaf: nothing else is called with it held, except that opening
// a principal's directories happens under it.
package session
