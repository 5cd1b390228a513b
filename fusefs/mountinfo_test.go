package fusefs

import (
	"reflect"
	"testing"
)

func TestParseMountInfo(t *testing.T) {
	const text = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
36 22 0:41 / /mnt/with\040space\011tab\134back rw,nosuid,nodev master:1 propagate_from:2 - fuse.astridfs astridfs:a\040b rw,user_id=0
37 22 0:42 / /plain rw - fuse.other none rw
38 22 0:43 / /cut rw -
no line at all

39 22 zero:x / /bad rw - tmpfs none rw
40 22 0:44 / /odd\04 rw - tmpfs \999 rw`
	want := []MountInfo{
		{Mountpoint: "/", Type: "ext4", Source: "/dev/vda", ConnID: 0},
		{Mountpoint: "/mnt/with space\ttab\\back", Type: "fuse.astridfs", Source: "astridfs:a b", ConnID: 41},
		{Mountpoint: "/plain", Type: "fuse.other", Source: "none", ConnID: 42},
		{Mountpoint: `/odd\04`, Type: "tmpfs", Source: `\999`, ConnID: 44},
	}
	if got := parseMountInfo([]byte(text)); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func FuzzParseMountInfo(f *testing.F) {
	f.Add([]byte(`36 22 0:41 / /a\040b rw - fuse.astridfs x rw`))
	f.Fuzz(func(t *testing.T, data []byte) { parseMountInfo(data) })
}
