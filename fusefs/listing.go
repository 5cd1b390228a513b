package fusefs

import "time"

// listing is what the kernel may have of a directory's listing. It collects one
// in the directory's pages while it is read, each entry where the last one
// ended, and answers from them once somebody has come to the end. If the pages
// are taken away before, it can go on no more, and will not keep a listing of
// this directory for as long as it knows it (fs/fuse/readdir.c).
//
// So a change that comes while a listing is not whole is only noted: nobody
// reads from the pages yet. They are dropped right before the answer that says
// that this was the end. The kernel then finds them missing at the next listing,
// and collects anew.
type listing struct {
	whole    bool // the end was told, and the pages not dropped since
	begun    bool // there may be pages of one that is not whole
	outdated bool // those may be older than a change

	calls    int       // answers being made
	answered time.Time // when the last one was given
	to       uint32    // the thread that got it
}

// listingBegins is called before entries are read for an answer.
func (n *node) listingBegins() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listing.calls++
	n.listing.begun = true
}

// listingAnswered is called when the answer is made, which goes to thread pid.
func (n *node) listingAnswered(pid uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listing.calls--
	n.listing.answered, n.listing.to = time.Now(), pid
}

// listingEnds is called before thread pid is told that it has seen all. It tells
// whether the pages are to be dropped first, which they are always for a
// directory that changes without anybody being told.
func (n *node) listingEnds(volatile bool, pid uint32) (drop bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &n.listing
	if !l.outdated && !volatile {
		l.whole = true
		return false
	}
	// Somebody else's answer from before the change may be yet to arrive.
	met := l.calls > 1 || l.to != pid && time.Since(l.answered) < replyWindow
	l.whole, l.begun, l.outdated = false, met, met
	return true
}

// listingChanged is called when somebody else changed the node. It tells whether
// its pages are to be dropped now, which is always so if it is no directory.
func (n *node) listingChanged() (drop bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &n.listing
	if !l.whole {
		l.outdated = l.begun
		return !l.begun
	}
	met := l.calls > 0 || time.Since(l.answered) < replyWindow
	l.whole, l.begun, l.outdated = false, met, met
	return true
}
