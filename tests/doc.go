// Package tests holds black-box tests: they build the astridfs command, run it
// as a user would on real projects with real programs, and look at the results
// from outside. They need /dev/fuse, git, rsync and sqlite3, which scripts/test
// installs.
package tests
