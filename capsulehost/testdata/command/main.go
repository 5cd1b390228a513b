//go:build wasip1

// Command is a program of WASI that does what its first argument says.
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	switch os.Args[1] {
	case "exit":
		code, _ := strconv.Atoi(os.Args[2])
		os.Exit(code)
	case "echo": // standard input and the environment, to standard output
		b, err := io.ReadAll(os.Stdin)
		fmt.Printf("%s|%s|%s|%v", b, strings.Join(os.Args, " "), os.Getenv("GREETING"), err)
	case "sleep":
		time.Sleep(time.Hour)
	case "panic":
		panic("the guest's own panic")
	case "oom":
		var all [][]byte
		for {
			all = append(all, make([]byte, 1<<20))
		}
	case "files":
		var all []*os.File
		for {
			f, err := os.Create("file-" + strconv.Itoa(len(all)))
			if err != nil {
				fmt.Print(len(all), " ", err)
				return
			}
			all = append(all, f)
		}
	}
}
