package mountopt_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/astridfs/astridfs/session/fault"
	"github.com/astridfs/astridfs/session/mountopt"
)

func TestTaken(t *testing.T) {
	a := []string{"/a"}
	for text, want := range map[string]mountopt.Options{
		"lowerdir=/a":    {Lower: a, ReadOnly: true},
		"rw,lowerdir=/a": {Lower: a, ReadOnly: true}, // nowhere to write to
		"rw,lowerdir=/a:b:/c,upperdir=u,workdir=/w":   {Lower: []string{"/a", "b", "/c"}, Upper: "u", Work: "/w"},
		"ro,lowerdir=/a,upperdir=u,workdir=/w":        {Lower: a, Upper: "u", Work: "/w", ReadOnly: true},
		"lowerdir=/a,,nosuid,nodev,noexec,":           {Lower: a, ReadOnly: true, NoSuid: true, NoDev: true, NoExec: true},
		"nosuid,suid,nodev,dev,exec,lowerdir=/a":      {Lower: a, ReadOnly: true},
		"lowerdir=/a:/b,lowerdir=/c,lowerdir+=/d:e":   {Lower: []string{"/c", "/d:e"}, ReadOnly: true},
		"allow_other,userxattr,fsname=it,lowerdir=/a": {Lower: a, ReadOnly: true, AllowOther: true, UserXattr: true, Source: "it"},

		// Names with what separates.
		`lowerdir=/a\:b:/c\,d:/e\\:/f\"g,upperdir=/u:v\,w\\,workdir=/x=y`: {
			Lower: []string{"/a:b", "/c,d", `/e\`, `/f"g`}, Upper: `/u:v,w\`, Work: "/x=y"},
		`lowerdir="/a,b:/c",upperdir="/u,v",workdir="/w"`: {Lower: []string{"/a,b", "/c"}, Upper: "/u,v", Work: "/w"},
		"lowerdir=/with blank\nand\tmore\xff":             {Lower: []string{"/with blank\nand\tmore\xff"}, ReadOnly: true},
		`lowerdir=/ends with\`:                            {Lower: []string{`/ends with\`}, ReadOnly: true},

		"lowerdir=/a,noatime,atime": {Lower: a, ReadOnly: true},
		"lowerdir=/a,noatime":       {Lower: a, ReadOnly: true, NoAtime: true},

		// What mount(8) makes of mount -o remount,….
		"rw,nosuid,user_id=0,max_read=1048576,allow_other,lowerdir=,squash_to_root,remount,ro,noatime": {
			Remount: true, ReadOnly: true, NoSuid: true, NoAtime: true, AllowOther: true},

		// Without effect.
		"defaults,noauto,nofail,_netdev,user,x-systemd.automount,relatime,default_permissions,lowerdir=/a":                  {Lower: a, ReadOnly: true},
		"redirect_dir=on,index=off,metacopy=off,xino=auto,volatile,static_nlink,xattr_permissions=0,threaded=1,lowerdir=/a": {Lower: a, ReadOnly: true},
	} {
		got, err := mountopt.Parse(text, false)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", text, got, err, want)
		}
	}
}

// What is refused is a fault of usage that names the option.
func TestRefused(t *testing.T) {
	const layers = "lowerdir=/a,upperdir=/u,workdir=/w"
	for text, name := range map[string]string{
		"":                                 `"lowerdir"`,
		"upperdir=/u,workdir=/w":           `"lowerdir"`,
		"lowerdir=":                        `"lowerdir"`,
		"lowerdir":                         `"lowerdir"`,
		"lowerdir=/a:":                     `"lowerdir"`,
		"lowerdir=/a::/data":               `"lowerdir"`,
		"lowerdir=/a,upperdir=/u":          `"workdir"`,
		"lowerdir=/a,workdir=/w":           `"upperdir"`,
		layers + ",allow_other=1":          `"allow_other"`,
		layers + ",frobnicate":             `"frobnicate"`,
		layers + ",uidmapping=0:1000:1":    `"uidmapping=0:1000:1"`,
		layers + ",gidmapping=0:1000:1":    `"gidmapping=0:1000:1"`,
		layers + ",squash_to_root":         `"squash_to_root"`,
		layers + ",squash_to_uid=1":        `"squash_to_uid=1"`,
		layers + ",squash_to_gid=1":        `"squash_to_gid=1"`,
		layers + ",xattr_permissions=2":    `"xattr_permissions=2"`,
		layers + ",strictatime":            `"strictatime"`,
		layers + ",noacl":                  `"noacl"`,
		layers + ",redirect_dir=off":       `"redirect_dir=off"`,
		layers + ",metacopy=on,index=off":  `"metacopy=on"`,
		layers + ",datadir+=/d":            `"datadir+=/d"`,
		"lowerdir=/a,upperdir=,workdir=/w": `"upperdir"`,
	} {
		_, err := mountopt.Parse(text, false)
		if !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), name) || fault.Of(err).Next == "" {
			t.Errorf("%s: got %v, want a fault that names %s and a next step", text, err, name)
		}
	}
}

// As mount -s wants it: what nobody knows is left out, what cannot be is said.
func TestSloppy(t *testing.T) {
	if o, err := mountopt.Parse("lowerdir=/a,frobnicate,twist=1", true); err != nil || len(o.Lower) != 1 {
		t.Errorf("got %+v, %v", o, err)
	}
	if _, err := mountopt.Parse("lowerdir=/a,squash_to_root", true); !fault.Is(err, fault.Usage) {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`lowerdir=/a\:b:c,upperdir="/u,",workdir=/w\`, true)
	f.Fuzz(func(t *testing.T, text string, sloppy bool) {
		o, err := mountopt.Parse(text, sloppy)
		if err != nil {
			return
		}
		if len(o.Lower) == 0 || (o.Upper == "") != (o.Work == "") || o.Upper == "" && !o.ReadOnly {
			t.Errorf("%q became %+v", text, o)
		}
		// Escaped and written out, it reads the same.
		esc := strings.NewReplacer(`\`, `\\`, `,`, `\,`, `:`, `\:`, `"`, `\"`)
		out := "lowerdir+=" + esc.Replace(o.Lower[0])
		for _, l := range o.Lower[1:] {
			out += ",lowerdir+=" + esc.Replace(l)
		}
		if o.Upper != "" {
			out += ",upperdir=" + esc.Replace(o.Upper) + ",workdir=" + esc.Replace(o.Work)
		}
		again, err := mountopt.Parse(out, false)
		if err != nil || !reflect.DeepEqual(again.Lower, o.Lower) || again.Upper != o.Upper || again.Work != o.Work {
			t.Errorf("%q became %+v, and %q %+v, %v", text, o, out, again, err)
		}
	})
}
