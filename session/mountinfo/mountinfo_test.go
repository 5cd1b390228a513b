package mountinfo

import (
	"strings"
	"testing"
)

const table = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:27 / /mnt/a\040b rw,nosuid,nodev,relatime shared:16 master:2 - fuse.astridfs astridfs:one:0011 rw,user_id=0
31 22 0:28 / /mnt/c rw - fuse.astridfs astridfs:two:0022 rw
32 31 0:29 / /mnt/c rw - tmpfs astridfs:one:0011 rw
33 22 0:30 / /mnt/d\134x rw - fuse.astridfs astridfs:one:0011 rw
`

func TestTable(t *testing.T) {
	list, err := parse(strings.NewReader(table))
	if err != nil {
		t.Fatal(err)
	}
	got := OfSession(list, "0011")
	if len(got) != 2 || got[0].Point != `/mnt/d\x` || got[1].Point != "/mnt/a b" {
		t.Errorf("mounts of the session: %+v", got)
	}
	if m, ok := At(list, "/mnt/c"); !ok || m.Type != "tmpfs" {
		t.Errorf("the topmost is %+v", m)
	}
	for path, want := range map[string]string{"/mnt/a b/x/y": "/mnt/a b", "/mnt/a": "/", "/": "/"} {
		if m, ok := Covering(list, path); !ok || m.Point != want {
			t.Errorf("%s lies in %+v", path, m)
		}
	}
	for _, bad := range []string{"x\n", "1 2 3 4 5 6 7\n", "22 1 254:0 / / rw - ext4\n"} {
		if _, err := parse(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	if _, err := Read(); err != nil {
		t.Error(err)
	}
}
