package overlay

import "hash/maphash"

// The cookies of listings. A front end may forget the handle of a listing and go
// on from a cookie with another one (FUSE's no-opendir does), so a cookie tells
// by itself what kind of listing it is of, and keeps its meaning whatever becomes
// of the directory:
//
//   - One below hostCookies is the host's own, of a directory that one layer
//     alone has; one from halvedCookies on is the host's, halved, to make room.
//   - The others are of a merged directory, which has the order of its names'
//     hashes. What comes and goes moves nothing else.
//
// A halved cookie has lost a bit, which matters only to another handle: it may
// list one entry again. Ours have their lowest bits clear, so that they survive
// that when the layer is an overlay as well.
const (
	mergedCookies = 1 << 61
	halvedCookies = 1 << 62
	afterAll      = 1 << 63 // from here on, host cookies stand for themselves

	cookieStep = 16
	dotCookie  = mergedCookies + cookieStep
	dotsCookie = dotCookie + cookieStep
)

// ofHost makes a cookie of the host's.
func ofHost(c uint64) uint64 {
	if c < mergedCookies || c >= afterAll {
		return c
	}
	return halvedCookies | c>>1
}

// toHost undoes ofHost, but for the lowest bit.
func toHost(c uint64) uint64 {
	if c < mergedCookies || c >= afterAll {
		return c
	}
	return c &^ halvedCookies << 1
}

// isMerged tells whether c is of a merged directory's listing.
func isMerged(c uint64) bool { return c >= mergedCookies && c < halvedCookies }

// nameCookie is where a merged listing has name, unless its place is taken.
func (fs *FS) nameCookie(name string) uint64 {
	const places = (halvedCookies - mergedCookies) / cookieStep
	h := maphash.String(fs.seed, name) % (places / 2) // as many again for those that are taken
	return dotsCookie + cookieStep*(1+h)
}
