package tests

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// goTree makes the workspace a Go distribution: its own src tree of more than
// ten thousand files, and links to the rest, so that the go command works there.
func goTree(t *testing.T, b *box) {
	t.Helper()
	root := strings.TrimSpace(sh(t, ".", "go env GOROOT"))
	sh(t, b.ws, `cp -a "$R/src" . && cp -a "$R/VERSION" . && { [ ! -e "$R/go.env" ] || cp -a "$R/go.env" .; }
		for d in bin pkg lib; do ln -s "$R/$d" $d; done`, "R="+root)
}

// TestGoTree does a developer's day on a large real tree through the mount, and
// holds the workspace to "byte-identical before the commit, exactly the
// difference after it".
func TestGoTree(t *testing.T) {
	b := newBox(t)
	goTree(t, b)
	before := manifest(t, b.ws)
	if len(before) < 9000 {
		t.Fatalf("only %d entries in the tree", len(before))
	}
	b.mount()
	sameTree(t, "the mount before any change", manifest(t, b.mnt), before)
	if rows := b.status(); len(rows) != 0 {
		t.Fatalf("status before any change: %q", rows)
	}

	env := []string{"GOROOT=" + b.mnt, "GOFLAGS=-trimpath -buildvcs=false", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@a", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@a"}
	native := []string{"GOFLAGS=-trimpath -buildvcs=false"}

	t.Run("go build", func(t *testing.T) {
		out := filepath.Join(b.mnt, "gofmt.built")
		sh(t, b.mnt, "go build -o "+out+" cmd/gofmt", env...)
		sh(t, b.ws, "go build -o "+b.dir+"/gofmt.native cmd/gofmt", native...)
		got := sh(t, b.mnt, "./gofmt.built -d src/strings/*.go | head; ./gofmt.built -l src/strings src/sort")
		want := sh(t, b.ws, b.dir+"/gofmt.native -d src/strings/*.go | head; "+b.dir+"/gofmt.native -l src/strings src/sort")
		if got != want {
			t.Errorf("built gofmt says %q, native %q", got, want)
		}
	})
	t.Run("go test", func(t *testing.T) {
		sh(t, filepath.Join(b.mnt, "src"), "go test -count=1 -short sort path container/list unicode/utf8", env...)
	})
	t.Run("git", func(t *testing.T) {
		// A tree of this size has git collect its loose objects after the commit,
		// in the background if left to itself, racing with whatever follows.
		out := sh(t, b.mnt, `git init -q . && git config gc.autoDetach false && git add -A && git commit -q -m all &&
			git status --porcelain && git gc -q && git fsck --no-progress && git ls-files | wc -l`, env...)
		if want := sh(t, b.mnt, "find . -name .git -prune -o ! -type d -print | wc -l"); out != want {
			t.Errorf("git says %q of %q files", out, want)
		}
		write(t, filepath.Join(b.mnt, "src/strings/builder.go"), "package strings\n")
		if got := sh(t, b.mnt, "git status --porcelain", env...); got != " M src/strings/builder.go\n" {
			t.Errorf("git status after an edit: %q", got)
		}
		sh(t, b.mnt, "git checkout -q -- src/strings/builder.go && git status --porcelain | wc -l | grep -qx 0", env...)
	})
	t.Run("tar", func(t *testing.T) {
		sh(t, b.mnt, `tar -C src -cf net.tar net && mkdir un && tar -C un -xf net.tar && diff -r src/net un/net && rm -r net.tar`)
		sameTree(t, "untarred", manifest(t, filepath.Join(b.mnt, "un/net")), manifest(t, filepath.Join(b.ws, "src/net")))
	})
	t.Run("rsync", func(t *testing.T) {
		sh(t, b.mnt, `rsync -a src/crypto/ synced/ && rsync -a --delete src/encoding/ synced/`)
		sameTree(t, "synced", manifest(t, filepath.Join(b.mnt, "synced")), manifest(t, filepath.Join(b.ws, "src/encoding")))
		if out := sh(t, b.mnt, `rsync -ani src/encoding/ synced/`); out != "" {
			t.Errorf("rsync finds differences after syncing:\n%s", out)
		}
	})
	t.Run("sqlite", func(t *testing.T) {
		out := sh(t, b.mnt, `sqlite3 db.sqlite "PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);
			WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<20000) INSERT INTO t SELECT n, hex(n) FROM c;"
			for i in 1 2 3; do sqlite3 db.sqlite "PRAGMA busy_timeout=20000; UPDATE t SET b=b||'x' WHERE a%3=$i%3;" >/dev/null & done; wait
			sqlite3 db.sqlite "PRAGMA integrity_check; SELECT count(*), sum(length(b)) FROM t; PRAGMA wal_checkpoint(TRUNCATE);"`)
		for _, want := range []string{"wal", "ok", "20000|"} {
			if !strings.Contains(out, want) {
				t.Errorf("sqlite3 does not say %q:\n%s", want, out)
			}
		}
	})
	t.Run("save by rename", func(t *testing.T) {
		// As vim does with backupcopy=no: keep the old file as a backup, write
		// a new one, sync it, drop the backup.
		path := filepath.Join(b.mnt, "src/bufio/bufio.go")
		text := "// saved\n" + read(t, path)
		if err := os.Rename(path, path+"~"); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path + "~"); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != text {
			t.Error("the saved file reads differently")
		}
	})
	t.Run("rename a large lower directory", func(t *testing.T) {
		start := time.Now()
		if err := os.Rename(filepath.Join(b.mnt, "src"), filepath.Join(b.mnt, "source")); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d entries renamed in %v", len(before), time.Since(start))
		if read(t, filepath.Join(b.mnt, "source/sort/sort.go")) != read(t, filepath.Join(b.ws, "src/sort/sort.go")) {
			t.Error("a file below the renamed directory reads differently")
		}
		if err := os.Rename(filepath.Join(b.mnt, "source"), filepath.Join(b.mnt, "src")); err != nil {
			t.Fatal(err)
		}
	})

	// What git did to the index is of no interest for a review.
	sh(t, b.mnt, "rm -rf .git un gofmt.built")
	sameTree(t, "the workspace before the commit", manifest(t, b.ws), before)

	view := manifest(t, b.mnt)
	b.run("commit", b.session, "synced")
	after := manifest(t, b.ws)
	for p, line := range before {
		if p != "." && after[p] != line {
			t.Fatalf("committing synced changed %s:\n%s\n%s", p, line, after[p])
		}
	}
	for p := range after {
		if _, ok := before[p]; !ok && p != "synced" && !strings.HasPrefix(p, "synced/") {
			t.Fatalf("committing synced brought %s", p)
		}
	}
	b.run("commit", b.session)
	sameTree(t, "the workspace after the commit", manifest(t, b.ws), view)
	sameTree(t, "the mount after the commit", manifest(t, b.mnt), view)
	if rows := b.status(); len(rows) != 0 {
		t.Errorf("status after the commit: %q", rows)
	}
	b.unmount()
	sameTree(t, "the workspace after unmounting", manifest(t, b.ws), view)
	runtime.KeepAlive(b)
}

// TestDiscardRestores changes a real tree in every way and takes it all back.
func TestDiscardRestores(t *testing.T) {
	b := newBox(t)
	root := strings.TrimSpace(sh(t, ".", "go env GOROOT"))
	sh(t, b.ws, `cp -a "$R/src/net" "$R/src/os" .`, "R="+root)
	before := manifest(t, b.ws)
	b.mount()
	sh(t, b.mnt, `
		rm -r net/http
		mv os operating
		echo new > operating/exec/new.go
		echo more >> net/ip.go
		rm net/dial.go && mkdir net/dial.go && echo x > net/dial.go/x
		ln -s ip.go net/link; ln net/ip.go net/hard
		chmod 600 net/tcpsock.go
		mkfifo fifo
		truncate -s 10M sparse`)
	if rows := b.status(); len(rows) == 0 {
		t.Fatal("no changes listed")
	}
	sameTree(t, "the workspace before discarding", manifest(t, b.ws), before)
	b.run("discard", b.session, "--yes")
	if rows := b.status(); len(rows) != 0 {
		t.Errorf("status after discarding: %q", rows)
	}
	sameTree(t, "the mount after discarding", manifest(t, b.mnt), before)
	b.unmount()
	sameTree(t, "the workspace", manifest(t, b.ws), before)
}
