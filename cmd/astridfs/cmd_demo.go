package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/astridfs/astridfs/session"
	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/store"
)

// demoFiles are a small project and the capsule that works on it.
//
//go:embed demo/project demo/tidy.wasm
var demoFiles embed.FS

func demoCommand(e *env) *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "show the main job on a bundled example, line by line",
		Description: `It works in a directory of its own, which it removes at the end, and shows every
command that it runs. Without FUSE it does the same without the mount.

   astridfs demo
   astridfs demo --keep`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "keep", Usage: "leave the directory, to try more"}, jsonFlag()},
		Action: func(c *cli.Context) error {
			return e.demo(c.Bool("keep"))
		},
	}
}

// demo is a demonstration under way.
type demo struct {
	e     *env
	dir   string
	mount bool

	// With --json.
	doc   *document
	about []string // said since the last command
}

// demoStep is a command of the demonstration in a document.
type demoStep struct {
	About   []string `json:"about,omitempty"`
	Command string   `json:"command"`
	Output  string   `json:"output"` // of both streams
}

func (e *env) demo(keep bool) (err error) {
	dir, err := os.MkdirTemp("", "astridfs-demo-")
	if err != nil {
		return err
	}
	d := &demo{e: e, dir: dir, mount: true}
	defer func() {
		if keep {
			e.note("The project, the mountpoint and the sessions are in %s", dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	for _, sub := range []string{"view", "sessions"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	if err := d.unpack(); err != nil {
		return err
	}
	if missing := session.CheckFUSE(); missing != nil {
		d.mount = false
		d.say("This machine cannot mount (%s), so everything is shown without the mount.", missing)
	}
	if !e.json {
		return d.play()
	}
	if d.doc, err = newDocument(e.stdout, "steps", member{"mounted", d.mount}); err != nil {
		return err
	}
	var tail []member
	if keep {
		tail = append(tail, member{"dir", store.Path(dir)})
	}
	return d.doc.end(d.play(), tail...)
}

// unpack writes the example to the demonstration's directory.
func (d *demo) unpack() error {
	return fs.WalkDir(demoFiles, "demo", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == "demo" {
			return err
		}
		to := filepath.Join(d.dir, strings.TrimPrefix(path, "demo/"))
		if entry.IsDir() {
			return os.Mkdir(to, 0o755)
		}
		data, err := demoFiles.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o644)
	})
}

// play runs the demonstration, and ends its mount however it goes.
func (d *demo) play() (err error) {
	defer func() {
		if err != nil && d.mount {
			err = errors.Join(err, d.cleanup())
		}
	}()
	d.say("A project of four files. Nothing in it changes until we say so.")
	if err := d.shell("ls -R project"); err != nil {
		return err
	}
	edit := "view"
	if d.mount {
		d.say("Its view is mounted beside it: the same files, but changes go to a session.")
		if err := d.astridfs("mount --session demo project view"); err != nil {
			return err
		}
		d.say("We edit by hand, in the view, as in any directory.")
		if err := d.shell(`printf '\nIt knows your name.\n' >> ` + edit + `/README.md`); err != nil {
			return err
		}
	}
	d.say("A capsule, a program we do not trust, works on the same session. It may change\nthe workspace's view, and nothing else; the last two lines are what it must not do.")
	if err := d.astridfs("run --session demo --workspace project tidy.wasm"); err != nil {
		return err
	}
	if d.mount {
		d.say("What it wrote is in the view at once, and not in the project.")
		if err := d.shell("cat view/notes/ideas.txt; ls view/src project/src"); err != nil {
			return err
		}
	}
	d.say("All that changed, whoever did it:")
	if err := d.astridfs("status demo"); err != nil {
		return err
	}
	if err := d.astridfs("diff demo"); err != nil {
		return err
	}
	d.say("We keep what was done in src%s, and throw the rest away.", map[bool]string{true: " and README.md"}[d.mount])
	keep := "src"
	if d.mount {
		keep += " README.md"
	}
	for _, args := range []string{"commit demo " + keep, "discard --yes demo", "status demo"} {
		if err := d.astridfs(args); err != nil {
			return err
		}
	}
	d.say("The project has what we kept.")
	if err := d.shell("ls project/src project/notes"); err != nil {
		return err
	}
	if d.mount {
		return d.astridfs("unmount view")
	}
	return nil
}

func (d *demo) cleanup() error {
	list, err := session.Mounts()
	if err != nil {
		return err
	}
	if _, ok := session.MountedAt(list, filepath.Join(d.dir, "view")); !ok {
		return nil
	}
	return d.command("/proc/self/exe", "unmount", "--lazy", filepath.Join(d.dir, "view")).Run()
}

func (d *demo) say(format string, args ...any) {
	if d.doc != nil {
		d.about = append(d.about, strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " "))
		return
	}
	fmt.Fprintf(d.e.stdout, "\n%s\n", d.e.paint(bold, "# "+strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\n# ")))
}

func (d *demo) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(d.e.ctx, name, args...)
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), "ASTRIDFS_STATE_DIR="+filepath.Join(d.dir, "sessions"))
	cmd.Stdout, cmd.Stderr = d.e.stdout, d.e.stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGTERM}
	return cmd
}

// astridfs runs this program, as it would be called, and shows that.
func (d *demo) astridfs(args string) error {
	cmd := d.command("/proc/self/exe", strings.Fields(args)...)
	cmd.Args[0] = d.e.args[0]
	return d.show("astridfs "+args, cmd)
}

func (d *demo) shell(line string) error { return d.show(line, d.command("/bin/sh", "-ec", line)) }

// show runs a command, which is shown as line.
func (d *demo) show(line string, cmd *exec.Cmd) error {
	var out bytes.Buffer
	if d.doc != nil {
		cmd.Stdout, cmd.Stderr = &out, &out
	} else {
		fmt.Fprintf(d.e.stdout, "%s %s\n", d.e.paint(cyan, "$"), line)
	}
	err := cmd.Run()
	if d.doc != nil {
		err = errors.Join(err, d.doc.item(demoStep{d.about, line, out.String()}))
		d.about = nil
	}
	switch {
	case err == nil:
		return nil
	case d.e.ctx.Err() != nil:
		return fault.New(fault.Cancelled, "", "interrupted")
	}
	return fault.New(fault.Failed, "see what this machine lacks with: astridfs doctor", "the demonstration stopped at: %s: %w", line, err)
}
