//go:build race

package fusefs_test

// raceEnabled makes long tests shorter: the race detector slows both sides.
const raceEnabled = true
