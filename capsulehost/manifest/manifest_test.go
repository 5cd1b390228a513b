package manifest_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/astridfs/astridfs/boundary/gate"
	"github.com/astridfs/astridfs/capsulehost/manifest"
)

const good = `# A real one has more in it.
[package]
name = "reporter"
version = "1.2.0"
authors = ["somebody"]

[capabilities]
fs_read = ["cwd://", "home://"]
fs_write = ["cwd://"]
net = ["example.org"]

[[component]]
id = "writer"
file = "dist/writer.wasm"

[[component]]
file = "reader.wasm"
capabilities = { fs_read = ["cwd://src"] }

[[component]]
name = "nothing"
[component.capabilities]

[limits]
write_bytes = "100MiB"
files = 1000
memory = 1048576
time = "90s"
`

func TestParse(t *testing.T) {
	m, err := manifest.Parse("Capsule.toml", []byte(good), gate.Validate)
	if err != nil {
		t.Fatal(err)
	}
	want := &manifest.Manifest{
		Name: "reporter", Version: "1.2.0",
		Capabilities: manifest.Capabilities{Read: []string{"cwd://", "home://"}, Write: []string{"cwd://"}},
		Components: []manifest.Component{
			{ID: "writer", File: "dist/writer.wasm"},
			{File: "reader.wasm", Capabilities: &manifest.Capabilities{Read: []string{"cwd://src"}}},
			{ID: "nothing", Capabilities: &manifest.Capabilities{}},
		},
		Limits: manifest.Limits{WriteBytes: 100 << 20, Files: 1000, Memory: 1 << 20, Time: 90 * time.Second},
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v", m)
	}
	for name, read := range map[string]string{
		"writer":                "cwd:// home://",
		"/some/dir/writer.wasm": "cwd:// home://",
		"reader.wasm":           "cwd://src",
		"nothing":               "",
		"another.wasm":          "cwd:// home://",
	} {
		if got := strings.Join(m.For(name).Read, " "); got != read {
			t.Errorf("%s reads %q", name, got)
		}
	}
	if w := m.For("reader.wasm").Write; len(w) != 0 {
		t.Errorf("a component's capabilities were mixed with the package's: %q", w)
	}
}

func TestOneComponent(t *testing.T) {
	m, err := manifest.Parse("c", []byte("package.name='a'\n[[component]]\nfile='x.wasm'\n[component.capabilities]\nfs_read=['*']\n"), gate.Validate)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.For("y.wasm").Read; len(got) != 1 || got[0] != "*" {
		t.Errorf("got %q", got)
	}
}

func TestErrors(t *testing.T) {
	const head = "[package]\nname = 'a'\n"
	for _, c := range []struct {
		text string
		line int
		key  string
	}{
		{"", 0, "package.name"},
		{"[package]\nname = ''\n", 2, "package.name"},
		{"[package]\nname = 3\n", 2, "package.name"},
		{"[package\n", 1, ""},
		{head + "version = \xff\n", 3, ""},
		{head + "[capabilities]\nfs_read = 'cwd://'\n", 4, "capabilities.fs_read"},
		{head + "[capabilities]\nfs_read = ['cwd://', 1]\n", 4, "capabilities.fs_read"},
		{head + "[capabilities]\nfs_read = [\n 'cwd://',\n 'file://x']\n", 6, "capabilities.fs_read"},
		{head + "[capabilities]\nfs_write = ['../x']\n", 4, "capabilities.fs_write"},
		{head + "capabilities.fs_write = ['cwd://a/../x']\n", 0, ""}, // package.capabilities is another's
		{head + "[[component]]\nid='x'\n[[component]]\n[component.capabilities]\nfs_read=['/x']\n", 7, "component[1].capabilities.fs_read"},
		{head + "[[component]]\ncapabilities = { fs_read = ['/x'] }\n", 4, "component[0].capabilities.fs_read"},
		{"component = [{}, {capabilities = { fs_read = ['/x'] }}]\npackage.name = 'a'\n", 1, "component[1].capabilities.fs_read"},
		{head + "[limits]\nmemory = '12 parsecs'\n", 4, "limits.memory"},
		{head + "[capabilities.fs_read]\nx = 1\n", 3, "capabilities.fs_read"},
		{"component = 4\n" + head, 1, "component"},
		{head + "[limits]\nmemory = -1\n", 4, "limits.memory"},
		{head + "[limits]\nfiles = 1.5\n", 4, "limits.files"},
		{head + "[limits]\ntime = '30'\n", 4, "limits.time"},
		{head + "[limits]\nwrite_bytes = '99999999TiB'\n", 4, "limits.write_bytes"},
	} {
		_, err := manifest.Parse("dir/Capsule.toml", []byte(c.text), gate.Validate)
		if c.line == 0 && c.key == "" {
			if err != nil {
				t.Errorf("%q: %v", c.text, err)
			}
			continue
		}
		e, ok := errors.AsType[*manifest.Error](err)
		if !ok {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if strings.Contains(e.Reason, "struct") || strings.Contains(e.Reason, "manifest.") {
			t.Errorf("%q: an error about this program: %v", c.text, e)
		}
		if e.Line != c.line || e.Key != c.key || !strings.HasPrefix(e.Error(), "dir/Capsule.toml:") {
			t.Errorf("%q: line %d, key %q: %v", c.text, e.Line, e.Key, e)
		}
	}
	if _, err := manifest.Parse("f", make([]byte, manifest.MaxSize+1), nil); err == nil {
		t.Error("no error for a huge manifest")
	}
}

func TestEvents(t *testing.T) {
	m, err := manifest.Parse("Capsule.toml", []byte(`
[package]
name = "x"
[[interceptor]]
event = "user.v1.prompt"
action = "late"
[[interceptor]]
event = "user.v1.*"
action = "early"
priority = 5
[[component]]
file = "lib.wasm"
type = "library"
[[component]]
file = "main.wasm"
type = "executable"
[subscribe]
"tool.v1.execute.*" = { handler = "any" }
"tool.v1.execute.grep" = { wit = "opaque", handler = "tool_execute_grep" }
"a.b" = "opaque"
[publish]
"tool.v1.execute.*.result" = {}
[capabilities]
ipc_publish = ["old.*"]
[config]
text = "as it is"
number = 3
list = ["a", true]
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]string{
		"user.v1.prompt":         "early",
		"user.v1.x.y":            "early",
		"user.v1":                "",
		"user.v1.":               "",
		"tool.v1.execute.grep":   "tool_execute_grep",
		"tool.v1.execute.grep.x": "any",
		"tool.v1.execute.read":   "any",
		"a.b":                    "",
	} {
		if in, _ := m.Handler(topic); in.Action != want {
			t.Errorf("%s is handled by %q, not %q", topic, in.Action, want)
		}
	}
	if main := m.Main(); main == nil || main.File != "main.wasm" {
		t.Errorf("the main component is %+v", main)
	}
	if want := []string{"old.*", "tool.v1.execute.*.result"}; !reflect.DeepEqual(m.Publish, want) {
		t.Errorf("publish %q", m.Publish)
	}
	if want := []string{"a.b", "tool.v1.execute.*", "tool.v1.execute.grep"}; !reflect.DeepEqual(m.Subscribe, want) {
		t.Errorf("subscribe %q", m.Subscribe)
	}
	if want := map[string]string{"text": "as it is", "number": "3", "list": `["a",true]`}; !reflect.DeepEqual(m.Config, want) {
		t.Errorf("config %q", m.Config)
	}
	for text, want := range map[string]string{
		"[[interceptor]]\nevent = \"x\"":                             "interceptor[0]: it needs an event and an action",
		"[subscribe]\n\"a\" = { handler = 1 }":                       "subscribe.a.handler: want the name of an action",
		"[subscribe]\n\"a\" = { handler = \"x\", priority = \"y\" }": "subscribe.a.priority: want a whole number",
		"[config]\nx = nan":                                          "config.x: it has no value in JSON",
	} {
		_, err := manifest.Parse("f", []byte("package = { name = \"x\" }\n"+text), nil)
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("component = [{}, {capabilities = { fs_read = ['/x'] }}]\npackage.name = 'a'\n"))
	f.Add([]byte("[package]\nname = 'a'\n[capabilities]\nfs_read = [\n 'cwd://',\n 'file://x']\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := manifest.Parse("f", data, gate.Validate)
		if err != nil {
			if _, ok := errors.AsType[*manifest.Error](err); !ok || m != nil {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		// What is accepted can be granted.
		for _, c := range append([]manifest.Component{{ID: ""}}, m.Components...) {
			caps := m.For(c.ID)
			if _, err := gate.Parse(caps.Read, caps.Write); err != nil {
				t.Fatal(err)
			}
		}
	})
}
