// Command fsbench times the same filesystem work on several directories side by
// side and prints, for each workload, the median time and its ratio to the
// first directory. scripts/bench prepares the directories: the bare one and the
// mounts of astridfs and its peers, each over layers of its own.
//
//	fsbench [-runs 3] [-only PART] -tar TREE.tar NAME=DIR …
//
// Each directory shows a tree src/ and a file big.bin. A figure is a ratio
// within one run on one machine and means nothing alone.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

type workload struct {
	name string
	run  func(dir string) error
	once bool // changes what it works on, so it runs once
	cold bool // the kernel's caches are dropped before
	warm bool // it is run once before, untimed, so that the caches have what it needs
}

func main() {
	if err := bench(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "fsbench:", err)
		os.Exit(1)
	}
}

func bench(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("fsbench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	runs := flags.Int("runs", 3, "runs of each workload that can be repeated")
	only := flags.String("only", "", "part of the names of the workloads to run")
	tarFile := flags.String("tar", "", "tar of the tree src/, for the untar workload")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var names, dirs []string
	for _, arg := range flags.Args() {
		name, dir, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q: want NAME=DIRECTORY", arg)
		}
		names, dirs = append(names, name), append(dirs, dir)
	}
	if len(dirs) == 0 {
		return errors.New("no directory given")
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "workload\t%s\t\n", strings.Join(names, "\t"))
	for _, wl := range workloads(*tarFile) {
		if !strings.Contains(wl.name, *only) {
			continue
		}
		medians, err := measure(wl, dirs, *runs)
		if err != nil {
			fmt.Fprintf(stderr, "fsbench: %s: %v\n", wl.name, err)
		}
		fmt.Fprintf(w, "%s\t", wl.name)
		for _, m := range medians {
			if m == 0 {
				fmt.Fprint(w, "failed\t")
				continue
			}
			fmt.Fprintf(w, "%.3fs %.2fx\t", m.Seconds(), m.Seconds()/medians[0].Seconds())
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// measure returns a median for each directory, 0 where the workload failed.
// The directories take turns, so that a slow moment hits all of them.
func measure(wl workload, dirs []string, runs int) ([]time.Duration, error) {
	if wl.once || wl.cold {
		runs = 1
	}
	times := make([][]time.Duration, len(dirs))
	var errs []error
	if wl.warm {
		for _, dir := range dirs {
			if err := wl.run(dir); err != nil {
				errs = append(errs, err)
			}
		}
	}
	for range runs {
		for i, dir := range dirs {
			if wl.cold {
				if err := dropCaches(); err != nil {
					return make([]time.Duration, len(dirs)), err
				}
			}
			start := time.Now()
			if err := wl.run(dir); err != nil {
				errs = append(errs, err)
				continue
			}
			times[i] = append(times[i], time.Since(start))
		}
	}
	medians := make([]time.Duration, len(dirs))
	for i, t := range times {
		if len(t) > 0 {
			slices.Sort(t)
			medians[i] = t[len(t)/2]
		}
	}
	return medians, errors.Join(errs...)
}

func dropCaches() error {
	syscall.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
}

func workloads(tarFile string) []workload {
	ws := []workload{
		{name: "walk + stat, cold", run: walkStat, cold: true},
		{name: "walk + stat, warm", run: walkStat, warm: true},
		{name: "read all small files, cold", run: readAll, cold: true},
		{name: "read all small files, warm", run: readAll, warm: true},
		{name: "sequential read, cold", run: sequentialRead, cold: true},
		{name: "sequential read, warm", run: sequentialRead, warm: true},
		{name: "random 4 KiB reads", run: randomRead, warm: true},
		{name: "create 3,000 files of 1 KiB", run: createSmall, once: true},
		{name: "delete 3,000 files", run: func(d string) error { return os.RemoveAll(filepath.Join(d, "new")) }, once: true},
		{name: "sequential write 256 MiB", run: func(d string) error { return writeFile(filepath.Join(d, "out.bin"), 1<<20, 256) }},
		{name: "4 KiB writes x 20,000", run: func(d string) error { return writeFile(filepath.Join(d, "out4k.bin"), 4096, 20000) }},
	}
	if tarFile != "" {
		ws = append(ws,
			workload{name: "untar", run: func(d string) error { return untar(d, tarFile) }, once: true},
			workload{name: "rm -r", run: func(d string) error { return os.RemoveAll(filepath.Join(d, "un")) }, once: true})
	}
	return append(ws,
		workload{name: "rename a lower directory and back", run: renameDir, once: true},
		workload{name: "append 1 byte to a 256 MiB lower file", run: appendByte, once: true})
}

func walkStat(dir string) error {
	return filepath.WalkDir(filepath.Join(dir, "src"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		_, err = os.Lstat(path)
		return err
	})
}

func readAll(dir string) error {
	buf := make([]byte, 64<<10)
	return filepath.WalkDir(filepath.Join(dir, "src"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return drain(path, buf)
	})
}

// drain reads a file to its end.
func drain(path string, buf []byte) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := f.Read(buf); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func sequentialRead(dir string) error {
	return drain(filepath.Join(dir, "big.bin"), make([]byte, 1<<20))
}

func randomRead(dir string) error {
	f, err := os.Open(filepath.Join(dir, "big.bin"))
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 4096)
	for range 40000 {
		if _, err := f.ReadAt(buf, r.Int64N(st.Size()/4096)*4096); err != nil {
			return err
		}
	}
	return nil
}

func createSmall(dir string) error {
	new := filepath.Join(dir, "new")
	if err := os.Mkdir(new, 0o755); err != nil {
		return err
	}
	data := bytes.Repeat([]byte("x"), 1024)
	for i := range 3000 {
		if err := os.WriteFile(filepath.Join(new, fmt.Sprintf("f%d", i)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes a new file in n pieces and removes it.
func writeFile(path string, size, n int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	buf := make([]byte, size)
	for range n {
		if _, err := f.Write(buf); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(f.Close(), os.Remove(path))
}

func untar(dir, tarFile string) error {
	un := filepath.Join(dir, "un")
	if err := os.Mkdir(un, 0o755); err != nil {
		return err
	}
	out, err := exec.Command("tar", "-C", un, "-xf", tarFile).CombinedOutput()
	if err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	return nil
}

// renameDir renames as mv does, which copies where the filesystem answers EXDEV.
func renameDir(dir string) error {
	for _, pair := range [][2]string{{"src", "src2"}, {"src2", "src"}} {
		out, err := exec.Command("mv", filepath.Join(dir, pair[0]), filepath.Join(dir, pair[1])).CombinedOutput()
		if err != nil {
			return fmt.Errorf("mv: %w: %s", err, out)
		}
	}
	return nil
}

func appendByte(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "big.bin"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte("x"))
	return errors.Join(err, f.Close())
}
