//go:build race

package boundary_test

// raceEnabled tells that the race detector is on, with which all takes many times
// longer.
const raceEnabled = true
