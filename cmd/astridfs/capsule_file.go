package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/astridfs/astridfs/capsulehost/archive"
	"github.com/astridfs/astridfs/capsulehost/component/astridhost"
	"github.com/astridfs/astridfs/capsulehost/manifest"
	"github.com/astridfs/astridfs/session"
	"github.com/astridfs/astridfs/session/fault"
)

// unpack has the request name what of an archive is run, if module is one, and
// finds the action of --event. The binary itself is taken out only if the
// session asks for it.
func (e *env) unpack(c *cli.Context, module *os.File, req *session.RunRequest, rio *session.RunIO) error {
	packed, err := isArchive(module)
	if err != nil {
		return fault.New(fault.NotRunnable, "", "capsule: %w", err)
	}
	if packed && req.Manifest == nil {
		if req.Manifest, err = archive.Manifest(fromStart(module)); err != nil {
			return badArchive(req.Name, err)
		}
		req.ManifestName = req.Name + "/" + archive.ManifestName
	}
	var m *manifest.Manifest
	if req.Manifest != nil {
		if m, err = manifest.Parse(req.ManifestName, req.Manifest, nil); err != nil {
			return fault.New(fault.Failed, "correct the manifest", "%w", err)
		}
	}
	if packed {
		if main := m.Main(); main != nil {
			req.Component = main.File
		}
		rio.Archive = true
		rio.Module = func() (io.ReadCloser, error) { return capsuleFile{fromStart(module), module}, nil }
	}
	if !c.IsSet("event") {
		return nil
	}
	topic := c.String("event")
	switch {
	case req.Action != "":
		return fault.New(fault.Usage, "give one of them", "both --event and --action are given")
	case m == nil:
		return fault.New(fault.Usage, "give --capsule Capsule.toml, or a .capsule", "an event needs a manifest, which says what handles it")
	}
	in, ok := m.Handler(topic)
	if !ok {
		var events []string
		for _, in := range m.Interceptors {
			events = append(events, in.Event)
		}
		return fault.New(fault.Failed, "name one of these, or the action itself with --action", "%s: nothing handles the event %q; what is handled is %s", req.ManifestName, topic, orNone(events))
	}
	req.Action = in.Action
	return nil
}

// capsuleFile is what is read of a capsule's file, which stays open.
type capsuleFile struct {
	io.Reader
	f *os.File
}

// Close implements io.Closer. Whoever opened the file closes it.
func (capsuleFile) Close() error { return nil }

// Size is what session.RunIO has a use for.
func (c capsuleFile) Size() int64 {
	info, err := c.f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

// isArchive tells whether a capsule's file is an archive. One that cannot be
// read again from its start, a pipe say, is none.
func isArchive(f *os.File) (bool, error) {
	var head [2]byte
	n, err := f.ReadAt(head[:], 0)
	if n == 0 && !errors.Is(err, io.EOF) {
		var st os.FileInfo
		if st, err = f.Stat(); err == nil && !st.Mode().IsRegular() {
			return false, nil
		}
		return false, err
	}
	return archive.Is(head[:n]), nil
}

// fromStart reads a file from its start, wherever it stands.
func fromStart(f *os.File) io.Reader { return io.NewSectionReader(f, 0, 1<<62) }

func badArchive(name string, err error) error {
	return fault.New(fault.NotRunnable, "", "cannot run %s: %w", name, err)
}

// messages reads the values of --message.
func messages(l []string) ([]session.Message, error) {
	var out []session.Message
	for _, m := range l {
		topic, payload, ok := strings.Cut(m, "=")
		if !ok || !astridhost.ValidTopic(topic, false) || !json.Valid([]byte(payload)) {
			return nil, fault.New(fault.Usage, `give TOPIC=JSON, as in user.v1.prompt={"text":"hello"}`, "option --message: %q is no message", m)
		}
		out = append(out, session.Message{Topic: topic, Payload: payload})
	}
	return out, nil
}
