//go:build wasip1

// Command escapewasi does what its standard input says by WASI calls, and
// answers with a line for each operation: the errno or "ok", and what it read, in
// hexadecimal. It calls WASI itself: Go's own packages clean paths. The input is
// as that of escape.c; paths are taken below the directory that is preopened as
// /workspace.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"unsafe"
)

//go:wasmimport wasi_snapshot_preview1 fd_prestat_get
func prestat(fd uint32, buf *[2]uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_prestat_dir_name
func prestatName(fd uint32, buf unsafe.Pointer, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_open
func pathOpen(fd, lookup uint32, path string, oflags uint32, rights, inherit uint64, fdflags uint32, ret *uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_filestat_get
func pathStat(fd, lookup uint32, path string, buf *[8]uint64) uint32

//go:wasmimport wasi_snapshot_preview1 path_filestat_set_times
func pathTimes(fd, lookup uint32, path string, atime, mtime uint64, flags uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_create_directory
func pathMkdir(fd uint32, path string) uint32

//go:wasmimport wasi_snapshot_preview1 path_unlink_file
func pathUnlink(fd uint32, path string) uint32

//go:wasmimport wasi_snapshot_preview1 path_remove_directory
func pathRmdir(fd uint32, path string) uint32

//go:wasmimport wasi_snapshot_preview1 path_rename
func pathRename(fd uint32, path string, fd2 uint32, path2 string) uint32

//go:wasmimport wasi_snapshot_preview1 path_link
func pathLink(fd, lookup uint32, path string, fd2 uint32, path2 string) uint32

//go:wasmimport wasi_snapshot_preview1 path_symlink
func pathSymlink(target string, fd uint32, path string) uint32

//go:wasmimport wasi_snapshot_preview1 path_readlink
func pathReadlink(fd uint32, path string, buf unsafe.Pointer, n uint32, used *uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_read
func fdRead(fd uint32, iov *[2]uint32, n uint32, used *uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_write
func fdWrite(fd uint32, iov *[2]uint32, n uint32, used *uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_readdir
func fdReaddir(fd uint32, buf unsafe.Pointer, n uint32, cookie uint64, used *uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_close
func fdClose(fd uint32) uint32

const (
	follow   = 1
	creat    = 1
	onlyDir  = 2
	trunc    = 8
	doAppend = 1
	canRead  = 1 << 1
	canWrite = 1 << 6
	canList  = 1 << 14
	setMtime = 1 << 3 // now
)

// workspace finds the preopened directory.
func workspace() uint32 {
	for fd := uint32(3); ; fd++ {
		var st [2]uint32
		if prestat(fd, &st) != 0 {
			panic("no /workspace")
		}
		name := make([]byte, st[1])
		if prestatName(fd, unsafe.Pointer(unsafe.SliceData(name)), st[1]) == 0 && string(name) == "/workspace" {
			return fd
		}
	}
}

func vec(b []byte) *[2]uint32 {
	return &[2]uint32{uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))), uint32(len(b))}
}

// open opens, reads or lists what that is for, and closes.
func open(ws uint32, path string, oflags uint32, rights uint64, fdflags uint32) (uint32, []byte) {
	var fd, n uint32
	if e := pathOpen(ws, follow, path, oflags, rights, 0, fdflags, &fd); e != 0 {
		return e, nil
	}
	defer fdClose(fd)
	buf := make([]byte, 1<<16)
	var e uint32
	switch {
	case rights&canWrite != 0 && (oflags&trunc != 0 || fdflags&doAppend != 0):
		buf = []byte("written")
		e = fdWrite(fd, vec(buf), 1, &n)
		n = 0
	case rights&canList != 0:
		e = fdReaddir(fd, unsafe.Pointer(unsafe.SliceData(buf)), uint32(len(buf)), 0, &n)
	default:
		e = fdRead(fd, vec(buf), 1, &n)
	}
	return e, buf[:n]
}

// names are the entries of what fd_readdir returned.
func names(buf []byte) (list []byte) {
	for len(buf) >= 24 {
		n := binary.LittleEndian.Uint32(buf[16:])
		if uint32(len(buf)) < 24+n {
			break
		}
		if name := string(buf[24 : 24+n]); name != "." && name != ".." {
			list = append(append(list, name...), '\n')
		}
		buf = buf[24+n:]
	}
	return list
}

func one(ws uint32, op byte, a, b string) (e uint32, data []byte) {
	var st [8]uint64
	switch op {
	case 'r', 'p', '0':
		return open(ws, a, 0, canRead, 0)
	case '3':
		return open(ws, a, 0, canRead|canWrite, 0)
	case 'w', '1':
		return open(ws, a, creat|trunc, canWrite, 0)
	case 'a', '2':
		return open(ws, a, creat, canWrite, doAppend)
	case 's', 'e':
		return pathStat(ws, follow, a, &st), nil
	case 'l':
		return pathStat(ws, 0, a, &st), nil
	case 'd':
		e, buf := open(ws, a, onlyDir, canList, 0)
		return e, names(buf)
	case 'm', 'M':
		return pathMkdir(ws, a), nil
	case 'u':
		return pathUnlink(ws, a), nil
	case 'R':
		return pathRmdir(ws, a), nil
	case 'n':
		return pathRename(ws, a, ws, b), nil
	case 'h':
		return pathLink(ws, 0, a, ws, b), nil
	case 'c':
		if e, data = open(ws, a, 0, canRead, 0); e == 0 {
			e, _ = open(ws, b, creat|trunc, canWrite, 0)
		}
		return e, data
	case 'k':
		var n uint32
		buf := make([]byte, 4096)
		e := pathReadlink(ws, a, unsafe.Pointer(unsafe.SliceData(buf)), uint32(len(buf)), &n)
		return e, buf[:n]
	case 'y':
		return pathSymlink(b, ws, a), nil
	case 't':
		return pathTimes(ws, follow, a, 0, 0, setMtime), nil
	}
	panic("unknown operation")
}

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	defer out.Flush()
	ws := workspace()
	for {
		op, err := in.ReadByte()
		if err == io.EOF {
			return
		}
		var s [2]string
		for i := range s {
			var n uint32
			if err = binary.Read(in, binary.LittleEndian, &n); err != nil {
				panic(err)
			}
			buf := make([]byte, n)
			if _, err = io.ReadFull(in, buf); err != nil {
				panic(err)
			}
			s[i] = string(buf)
		}
		e, data := one(ws, op, s[0], s[1])
		if e != 0 {
			fmt.Fprintln(out, e)
			continue
		}
		fmt.Fprintln(out, "ok", hex.EncodeToString(data))
	}
}
