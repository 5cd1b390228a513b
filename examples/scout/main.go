//go:build wasip1

// Scout is a capsule that works on a project: it lists it, searches it, replaces
// text across it and writes a report on it. It is an example of a capsule in Go.
//
// One source makes two programs. As a command it takes its action from the
// arguments:
//
//	GOOS=wasip1 GOARCH=wasm go build -o scout.wasm ./examples/scout
//	astridfs run --workspace DIR scout.wasm grep 'func main' src
//
// As a reactor it answers actions, with a payload of JSON:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o scout.wasm ./examples/scout
//	astridfs run --workspace DIR --action grep --payload '{"pattern": "func main", "path": "src"}' scout.wasm
//
// It uses the interface astrid:fs alone and not the files of WASI, so that it
// sees errors as the host has them: what it was not granted, it says and passes
// over.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/astridfs/astridfs/sdk/go/astridfs/hook"
)

// request is what an action works on.
type request struct {
	Path    string `json:"path"`    // where to begin; the workspace if empty
	Glob    string `json:"glob"`    // names of files to look at, as "*.go"; all if empty
	Pattern string `json:"pattern"` // a regular expression
	With    string `json:"with"`    // what replaces it, with $1 for a group
	Output  string `json:"output"`  // where the report goes
}

// errUsage is an action that is not known or lacks something.
var errUsage = errors.New(`usage: scout list [PATH [GLOB]]
       scout grep PATTERN [PATH [GLOB]]
       scout replace PATTERN WITH [PATH [GLOB]]
       scout report [OUTPUT [PATH]]`)

// do performs an action and returns what there is to say about it.
func do(action string, r request) (string, error) {
	if r.Path == "" {
		r.Path = "workspace://"
	}
	switch action {
	case "list":
		return list(r)
	case "grep":
		return grep(r)
	case "replace":
		return replace(r)
	case "report":
		return report(r)
	}
	return "", errUsage
}

func init() {
	hook.Handle(func(action string, payload []byte) hook.Result {
		var r request
		if len(payload) > 0 {
			if err := json.Unmarshal(payload, &r); err != nil {
				return hook.Text("error", "the payload: "+err.Error())
			}
		}
		out, err := do(action, r)
		if err != nil {
			return hook.Text("error", out+err.Error())
		}
		return hook.Text("done", out)
	})
}

func main() {
	out, err := do(arguments(os.Args))
	fmt.Print(out)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// arguments makes an action and its request of a command line.
func arguments(args []string) (string, request) {
	var r request
	var into []*string
	action := ""
	if len(args) > 1 {
		action = args[1]
	}
	least := 0
	switch action {
	case "list":
		into = []*string{&r.Path, &r.Glob}
	case "grep":
		into, least = []*string{&r.Pattern, &r.Path, &r.Glob}, 1
	case "replace":
		into, least = []*string{&r.Pattern, &r.With, &r.Path, &r.Glob}, 2
	case "report":
		into = []*string{&r.Output, &r.Path}
	}
	if len(args) < 2+least || len(args) > 2+len(into) {
		return "", r
	}
	for i, arg := range args[2:] {
		*into[i] = arg
	}
	return action, r
}
