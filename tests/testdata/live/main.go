//go:build wasip1

// Command live is a capsule that does one operation for each line of its
// standard input and answers each with one line, so that a test can alternate
// between the capsule and the mount.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/astridfs/astridfs/sdk/go/astridfs"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		answer, err := do(strings.SplitN(in.Text(), " ", 3))
		var e *astridfs.Error
		switch {
		case errors.As(err, &e):
			answer = e.Code.String()
		case err != nil:
			answer = "error: " + err.Error()
		}
		fmt.Println(strconv.Quote(answer))
	}
}

func do(f []string) (string, error) {
	arg := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	switch f[0] {
	case "write":
		return "ok", astridfs.WriteFile(arg(1), []byte(arg(2)))
	case "append":
		return "ok", astridfs.Append(arg(1), []byte(arg(2)))
	case "read":
		data, err := astridfs.ReadFile(arg(1))
		return string(data), err
	case "size":
		st, err := astridfs.Stat(arg(1))
		return strconv.FormatUint(st.Size, 10), err
	case "exists":
		ok, err := astridfs.Exists(arg(1))
		return strconv.FormatBool(ok), err
	case "list":
		names, err := astridfs.ReadDir(arg(1))
		return strings.Join(names, "/"), err
	case "unlink":
		return "ok", astridfs.Unlink(arg(1))
	case "rename":
		return "ok", astridfs.Rename(arg(1), arg(2))
	case "mkdir":
		return "ok", astridfs.Mkdir(arg(1))
	case "mkdirall":
		return "ok", astridfs.MkdirAll(arg(1))
	case "removeall":
		n, err := astridfs.RemoveDirAll(arg(1))
		return strconv.FormatUint(n, 10), err
	case "copy":
		return "ok", astridfs.Copy(arg(1), arg(2))
	case "link":
		return "ok", astridfs.HardLink(arg(1), arg(2))
	case "stat":
		st, err := astridfs.Stat(arg(1))
		return fmt.Sprintf("%o", st.Mode), err
	case "lstat":
		st, err := astridfs.Lstat(arg(1))
		return fmt.Sprintf("%o", st.Mode), err
	}
	return "", errors.New("unknown operation " + f[0])
}
