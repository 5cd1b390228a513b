// Command astridfs lets WebAssembly programs work on a project without touching
// it, and a person see, review, keep or throw away what they did.
//
// This package is the command line alone: flags, output and exit codes. A file
// cmd_NAME.go holds a subcommand: its options, what it does, its help. What a
// session is and does lives in package session.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/capsulehost"
	"github.com/astridfs/astridfs/session"
)

// version is set when a release is built.
var version = "dev"

// compileName has this program do nothing but compile a capsule, for the owner of a
// session, which started it.
const compileName = "__compile"

func main() {
	if len(os.Args) > 1 && os.Args[1] == compileName {
		os.Exit(capsulehost.CompileMain(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	// Files in a session get the modes that capsules and users of the mount ask
	// for, less the umasks of those users.
	umask := unix.Umask(0)
	if os.Getenv(session.UmaskVariable) == "" { // set where this is the process behind a mount
		os.Setenv(session.UmaskVariable, fmt.Sprintf("%04o", umask))
	}
	signals := []os.Signal{unix.SIGINT, unix.SIGTERM}
	if !signal.Ignored(unix.SIGHUP) { // nohup means it
		signals = append(signals, unix.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr))
}
