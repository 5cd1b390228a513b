package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestComponentPrograms has unmodified programs in C do their jobs as components
// of WASI 0.2, and natively.
func TestComponentPrograms(t *testing.T) {
	b := newBox(t)
	sh(t, b.ws, `mkdir -p src/sub; for i in $(seq 300); do echo "line $i of the text"; done >src/text; ln -s text src/link; echo x >src/sub/x`)
	p := newPrograms(t, b, "lua-component", "sqlite-component")
	p.both("from standard input\nmore\n", "lua-component", "-e", `
		local n, out = 0, assert(io.open("src/out", "w"))
		for line in io.lines("src/link") do n = n + #line; out:write(line:upper(), "\n") end
		out:close()
		out = assert(io.open("src/out", "a")); out:write("appended\n"); out:close()
		local f = assert(io.open("src/out", "r+"))
		print(n, f:seek("end"), f:seek("set", 5), f:read(4)); f:seek("set", 0); f:write("first"); f:close()
		local function told(ok, why) print(ok, why) end -- not by numbers, which differ between systems
		told(os.rename("src/out", "src/sub/out")); told(os.remove("src/text")); told(os.rename("src/none", "src/x"))
		told(io.open("src/none")); told(io.open("src", "w")); told(os.remove("src/sub")); told(os.remove("src/sub/x"))
		print(io.read("n", "a"))
		io.stderr:write("done\n")`)
	p.both("", "lua-component", "-e", "os.exit(1)")
	p.both("", "sqlite-component", "-batch", "t.db", `create table t(n integer primary key, s text);
		with recursive c(n) as (select 1 union all select n+1 from c where n < 2000) insert into t select n, 'row ' || n from c;
		update t set s = upper(s) where n % 7 = 0; delete from t where n % 3 = 0; vacuum;
		select count(*), sum(n), max(s) from t; pragma integrity_check;`)
	p.both("select count(*) from t where s like 'ROW%';\n.tables\n", "sqlite-component", "-batch", "t.db")
	p.compare("t.db") // holds a version and times of its own
	if got := strings.TrimSpace(sh(t, b.mnt, `sqlite3 t.db "select count(*), sum(n) from t; pragma integrity_check"`)); got != "1334|1334667\nok" {
		t.Errorf("what SQLite left in the mount: %s", got)
	}
}

// TestRustPrograms has a program on Rust's standard library work on a session, as
// a core module of WASI preview1 and as a component of WASI 0.2, and natively.
func TestRustPrograms(t *testing.T) {
	for _, name := range []string{"rust", "rust-component"} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			sh(t, b.ws, `mkdir -p src/sub; for i in $(seq 3000); do echo "line $i of the text"; done >src/text; ln -s text src/link`)
			p := newPrograms(t, b, name)
			p.both("", name, "digest", ".")
			p.both("", name, "number", "src/link", "src/out")
			p.both("", name, "patch", "src/text", "100", "in the middle")
			p.both("", name, "copy", "src/text", "src/sub/copy")
			p.both("Größe\nline two", name, "write", "src/typed")
			if out := p.both("", name, "errors"); !strings.Contains(out, "list a file: failed") || !strings.Contains(out, "link: done") {
				t.Errorf("the errors told: %s", out)
			}
			p.both("", name, "what")
			if out := p.both("", name, "digest", "."); !strings.Contains(out, "\n5 files") {
				t.Errorf("the digest: %s", out)
			}
			p.compare()
		})
	}
}

// TestJavaScriptCapsules drives a capsule of JavaScript tools, on each engine
// that makes components of it, as an agent's host would, and looks at the mount.
func TestJavaScriptCapsules(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	sh(t, root, "scripts/guests/build tools tools-quickjs")
	for _, name := range []string{"tools", "tools-quickjs"} {
		t.Run(name, func(t *testing.T) { javaScript(t, filepath.Join(root, ".cache/guests", name+".capsule")) })
	}
}

func javaScript(t *testing.T, capsule string) {
	b := newBox(t)
	goroot := strings.TrimSpace(sh(t, ".", "go env GOROOT"))
	sh(t, b.ws, `cp -a "$R/src/sort" . && mkdir docs && printf 'Größe ☃ 𝒳\n' >docs/wide.txt && printf '\377\376' >docs/binary && ln -s /etc/passwd docs/out`, "R="+goroot)
	b.mount()
	calls := 0
	call := func(tool, payload string) map[string]any {
		t.Helper()
		calls++
		out := b.run("run", "--json", "--session", b.session, "--event", "tool.v1.execute."+tool, "--payload", payload, capsule)
		var doc struct {
			Run struct {
				Result    struct{ Action, Data string }
				Published []struct{ Topic, Payload string }
			}
		}
		if err := json.Unmarshal([]byte(out), &doc); err != nil {
			t.Fatal(err)
		}
		r := doc.Run
		if len(r.Published) != 1 || r.Published[0].Topic != "tool.v1.execute."+tool+".result" || r.Published[0].Payload != r.Result.Data {
			t.Errorf("%s published %+v", tool, r.Published)
		}
		var answer map[string]any
		if err := json.Unmarshal([]byte(r.Result.Data), &answer); err != nil || r.Result.Action != "continue" {
			t.Fatalf("%s answers %+v: %v", tool, r.Result, err)
		}
		return answer
	}
	inMount := func(path, want string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(b.mnt, path))
		if err != nil || string(got) != want {
			t.Errorf("%s in the mount: %q, %v", path, got, err)
		}
	}
	if got := call("read", `{"path":"docs/wide.txt"}`)["content"]; got != "Größe ☃ 𝒳\n" {
		t.Errorf("read: %v", got)
	}
	call("write", `{"path":"made/by/tool.txt","content":"ä text\n"}`)
	inMount("made/by/tool.txt", "ä text\n")
	if got := call("list", `{"path":"docs"}`)["entries"]; len(got.([]any)) != 3 {
		t.Errorf("list: %v", got)
	}
	want := strings.Fields(sh(t, b.ws, "grep -rlF 'func Sort(' sort | sort"))
	var found []string
	for _, m := range call("grep", `{"pattern":"func Sort(","path":"sort"}`)["matches"].([]any) {
		if f := m.(map[string]any)["file"].(string); len(found) == 0 || found[len(found)-1] != f {
			found = append(found, f)
		}
	}
	if strings.Join(found, " ") != strings.Join(want, " ") {
		t.Errorf("grep finds %q, and grep(1) %q", found, want)
	}
	call("replace", `{"pattern":"func Sort(","replacement":"func Order(","path":"sort"}`)
	sh(t, b.mnt, `test "$(grep -rlF 'func Order(' sort | sort)" = "$(cd "$WS" && grep -rlF 'func Sort(' sort | sort)"; ! grep -rF 'func Sort(' sort`, "WS="+b.ws)
	call("move", `{"from":"docs/wide.txt","to":"made/wide.txt"}`)
	inMount("made/wide.txt", "Größe ☃ 𝒳\n")
	if got := call("delete", `{"path":"docs"}`)["removed"]; got != float64(3) {
		t.Errorf("delete: %v", got)
	}
	for payload, want := range map[string]string{
		`{"path":"docs/wide.txt"}`:    "not-found",
		`{"path":"../../etc/passwd"}`: "boundary-escape",
		`{"path":"home://secret"}`:    "capability-denied",
		`{"path":"sort"}`:             "is-directory",
	} {
		if got := call("read", payload)["error"]; got != want {
			t.Errorf("read %s: %v, not %s", payload, got, want)
		}
	}
	// A person's edit is what the capsule reads next.
	if err := os.WriteFile(filepath.Join(b.mnt, "made/by/hand.txt"), []byte("by hand"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := call("read", `{"path":"made/by/hand.txt"}`)["content"]; got != "by hand" {
		t.Errorf("read: %v", got)
	}
	// Its store outlives the runs and the session's owner.
	b.unmount()
	history, err := json.Marshal(call("history", "{}")["calls"])
	if err != nil || string(history) != `["read","write","list","grep","replace","move","delete","read"]` {
		t.Errorf("history: %s, %v", history, err)
	}
	var published struct {
		Records []struct {
			Actor struct{ Capsule string }
			To    string
		}
	}
	record := b.run("audit", "show", "--json", "--session", b.session, "--op", "publish")
	if err := json.Unmarshal([]byte(record), &published); err != nil || len(published.Records) != calls ||
		published.Records[0].Actor.Capsule != strings.TrimSuffix(filepath.Base(capsule), ".capsule") || published.Records[0].To != "tool.v1.execute.read.result" {
		t.Errorf("published, on record: %s, %v", record, err)
	}
	if status := sh(t, b.ws, "ls docs/wide.txt && grep -rqF 'func Sort(' sort && test ! -e made && echo untouched"); !strings.HasSuffix(status, "untouched\n") {
		t.Errorf("the workspace: %s", status)
	}
}
