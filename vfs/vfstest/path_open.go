package vfstest

import (
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func pathCases() []pathCase {
	var all []pathCase
	for _, group := range []func() []pathCase{pathOpenCases, pathWalkCases, pathFileCases, pathMemoryCases, pathLockCases, pathManyCases} {
		all = append(all, group()...)
	}
	return all
}

// try opens and closes.
func (p *proc) try(path string, flags int) error {
	fd, err := unix.Open(p.dir+"/"+path, flags|unix.O_CLOEXEC, 0644)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func pathOpenCases() []pathCase {
	tree := Tree{file("f", "0123"), dir("d"), symlink("s", "f"), symlink("sd", "d"), symlink("dangling", "target"), {Path: "p", Mode: unix.S_IFIFO | 0600}}
	return []pathCase{
		{"Open/Flags", tree, func(p *proc) {
			for _, c := range []struct {
				path  string
				flags int
				errno syscall.Errno
			}{
				{"f", unix.O_RDONLY, 0},
				{"none", unix.O_RDONLY, syscall.ENOENT},
				{"f", unix.O_RDWR | unix.O_CREAT, 0},
				{"f", unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, syscall.EEXIST},
				{"s", unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, syscall.EEXIST},
				{"dangling", unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, syscall.EEXIST},
				{"d", unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, syscall.EEXIST},
				{"s", unix.O_RDONLY | unix.O_NOFOLLOW, syscall.ELOOP},
				{"d", unix.O_RDONLY, 0},
				{"d", unix.O_RDWR, syscall.EISDIR},
				{"d", unix.O_WRONLY, syscall.EISDIR},
				{"d", unix.O_RDONLY | unix.O_CREAT, syscall.EISDIR},
				{"f", unix.O_RDONLY | unix.O_DIRECTORY, syscall.ENOTDIR},
				{"s", unix.O_RDONLY | unix.O_DIRECTORY, syscall.ENOTDIR},
				{"sd", unix.O_RDONLY | unix.O_DIRECTORY, 0},
				{"sd", unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW, syscall.ENOTDIR},
				{"f/", unix.O_RDONLY, syscall.ENOTDIR},
				{"f/x", unix.O_RDONLY, syscall.ENOTDIR},
				{"d/", unix.O_RDONLY, 0},
				{"new/", unix.O_RDWR | unix.O_CREAT, syscall.EISDIR},
				{"none/x", unix.O_RDWR | unix.O_CREAT, syscall.ENOENT},
				{"p", unix.O_WRONLY | unix.O_NONBLOCK, syscall.ENXIO},
				{"p", unix.O_RDONLY | unix.O_NONBLOCK, 0},
				{"p", unix.O_RDWR, 0},
				{"dangling", unix.O_RDONLY, syscall.ENOENT},
				{"dangling", unix.O_RDWR | unix.O_CREAT, 0}, // makes its target
				{"target", unix.O_RDONLY, 0},
				{strings.Repeat("n", 256), unix.O_RDONLY, syscall.ENAMETOOLONG},
				{strings.Repeat("n", 256), unix.O_RDWR | unix.O_CREAT, syscall.ENAMETOOLONG},
			} {
				if err := p.try(c.path, c.flags); c.errno == 0 && err != nil || c.errno != 0 && err != c.errno {
					p.Errorf("open %q with %#o: %v, want %v", clip(c.path), c.flags, err, c.errno)
				}
			}
			p.contents("f", "0123")
		}},
		{"Open/TruncateReadOnly", tree, func(p *proc) {
			r := p.open("f", unix.O_RDONLY)
			p.ok(p.try("f", unix.O_RDONLY|unix.O_TRUNC))
			p.contents("f", "")
			if fi, err := r.Stat(); err != nil || fi.Size() != 0 {
				p.Errorf("an open file is %v, %v", fi, err)
			}
		}},
		{"Open/FifoBetweenTwo", tree, func(p *proc) {
			got := make(chan string, 1)
			go func() {
				b, err := os.ReadFile(p.path("p"))
				if err != nil {
					b = []byte(err.Error())
				}
				got <- string(b)
			}()
			p.ok(os.WriteFile(p.path("p"), []byte("through the fifo"), 0))
			if s := <-got; s != "through the fifo" {
				p.Errorf("read %q", s)
			}
		}},
		{"Open/Execute", Tree{{Path: "script", Mode: 0755, Data: "#!/bin/sh\necho ran\n"}}, func(p *proc) {
			out, err := exec.Command(p.path("script")).CombinedOutput()
			if err != nil || string(out) != "ran\n" {
				p.Errorf("script: %q, %v", out, err)
			}
			bin, err := os.ReadFile("/bin/sleep")
			p.ok(err)
			p.ok(os.WriteFile(p.path("sleep"), bin, 0755))
			p.ok(os.Chmod(p.path("sleep"), 0755))
			cmd := exec.Command(p.path("sleep"), "60")
			p.ok(cmd.Start())
			p.want(p.try("sleep", unix.O_WRONLY), syscall.ETXTBSY)
			p.ok(os.Remove(p.path("sleep"))) // it keeps running
			p.ok(cmd.Process.Kill())
			cmd.Wait() // killed, which is its error
		}},
		{"Open/ByProc", tree, func(p *proc) {
			f := p.open("f", unix.O_RDWR)
			p.ok(os.Remove(p.path("f")))
			again, err := os.OpenFile("/proc/self/fd/"+itoa(f.Fd()), os.O_RDWR, 0)
			p.ok(err)
			defer again.Close()
			_, err = again.WriteAt([]byte("X"), 0)
			p.ok(err)
			buf := make([]byte, 4)
			_, err = f.ReadAt(buf, 0)
			p.ok(err)
			if string(buf) != "X123" {
				p.Errorf("read %q", buf)
			}
		}},
	}
}

func pathWalkCases() []pathCase {
	loop := Tree{file("end", "end"), symlink("l1", "end")}
	for i := 2; i <= 41; i++ {
		loop = append(loop, symlink("l"+itoa(i), "l"+itoa(i-1)))
	}
	return []pathCase{
		{"Path/Symlinks", Tree{dir("a"), dir("a/b"), file("a/f", "in a"), file("f", "top"), symlink("s", "a/b"), symlink("self", "self"), symlink("up", "a/b/../..")}, func(p *proc) {
			p.contents("a/f", "in a")
			b, err := os.ReadFile(p.dir + "/s/../f") // the link's target's parent
			p.ok(err)
			if string(b) != "in a" {
				p.Errorf("s/../f holds %q", b)
			}
			b, err = os.ReadFile(p.dir + "/up/f")
			p.ok(err)
			if string(b) != "top" {
				p.Errorf("up/f holds %q", b)
			}
			p.want(p.try("self", unix.O_RDONLY), syscall.ELOOP)
		}},
		{"Path/FortySymlinks", loop, func(p *proc) {
			p.contents("l40", "end")
			p.want(p.try("l41", unix.O_RDONLY), syscall.ELOOP)
		}},
		{"Path/TrailingSlashes", Tree{file("f", ""), dir("d"), symlink("sf", "f"), symlink("sd", "d")}, func(p *proc) {
			at := func(s string) string { return p.dir + "/" + s }
			p.ok(unix.Mkdir(at("new/"), 0755))
			p.ok(unix.Rmdir(at("new///")))
			p.want(unix.Unlink(at("f/")), syscall.ENOTDIR)
			p.want(unix.Unlink(at("sf/")), syscall.ENOTDIR)
			p.want(unix.Rmdir(at("sd/")), syscall.ENOTDIR)
			p.want(unix.Rmdir(at("d/.")), syscall.EINVAL)
			p.want(unix.Rmdir(at("d/..")), syscall.ENOTEMPTY)
			p.want(unix.Rename(at("f"), at("g/")), syscall.ENOTDIR)
			p.ok(unix.Rename(at("d"), at("e/")))
			p.want(unix.Symlink("t", at("x/")), syscall.ENOENT)
			p.want(unix.Link(at("f"), at("x/")), syscall.ENOENT)
			var st unix.Stat_t
			p.want(unix.Lstat(at("f/"), &st), syscall.ENOTDIR)
			p.ok(unix.Lstat(at("e/."), &st))
		}},
		{"Path/Deep", nil, func(p *proc) {
			name := strings.Repeat("d", 250)
			fd, err := unix.Open(p.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			p.ok(err)
			var fds []int
			for range 40 { // 10,000 bytes deep
				fds = append(fds, fd)
				p.ok(unix.Mkdirat(fd, name, 0755))
				fd, err = unix.Openat(fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
				p.ok(err)
			}
			f, err := unix.Openat(fd, "f", unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0644)
			p.ok(err)
			_, err = unix.Pwrite(f, []byte("deep"), 0)
			p.ok(err)
			p.ok(unix.Close(f))
			p.ok(unix.Unlinkat(fd, "f", 0))
			p.ok(unix.Close(fd))
			p.want(p.try(strings.Repeat(name+"/", 40)+"f", unix.O_RDONLY), syscall.ENAMETOOLONG)
			for i := len(fds) - 1; i >= 0; i-- {
				p.ok(unix.Unlinkat(fds[i], name, unix.AT_REMOVEDIR))
				p.ok(unix.Close(fds[i]))
			}
		}},
		{"Path/RemovedDirectory", Tree{dir("d"), dir("d/sub")}, func(p *proc) {
			fd, err := unix.Open(p.path("d/sub"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			p.ok(err)
			defer unix.Close(fd)
			p.ok(os.RemoveAll(p.path("d")))
			var st unix.Stat_t
			p.ok(unix.Fstat(fd, &st))
			if st.Nlink != 0 {
				p.Errorf("link count is %d", st.Nlink)
			}
			_, err = unix.Openat(fd, "x", unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0644)
			p.want(err, syscall.ENOENT)
			p.want(unix.Mkdirat(fd, "x", 0755), syscall.ENOENT)
			p.want(unix.Fstatat(fd, "x", &st, 0), syscall.ENOENT)
		}},
	}
}
