package fsapi_test

import (
	"os"
	"testing"

	"github.com/astridfs/astridfs/capsulehost/fsapi"
	"github.com/astridfs/astridfs/capsulehost/view"
)

func TestFileQuota(t *testing.T) {
	q := view.NewQuota(100, 3)
	f, _ := newFS(t, view.View{Quota: q})
	for _, p := range []string{"a", "b", "c"} {
		if err := f.WriteFile(ctx, p, nil); err != nil {
			t.Fatal(err)
		}
	}
	code(t, f.WriteFile(ctx, "d", nil), fsapi.Quota)
	code(t, f.Append(ctx, "d", nil), fsapi.Quota)
	code(t, f.HardLink(ctx, "a", "d"), fsapi.Quota)
	if err := f.WriteFile(ctx, "a", []byte("again")); err != nil {
		t.Error(err)
	}
	if err := f.Rename(ctx, "a", "b"); err != nil { // two names become one
		t.Error(err)
	}
	if err := f.Mkdir(ctx, "d"); err != nil {
		t.Error(err)
	}
	code(t, f.Mkdir(ctx, "e"), fsapi.Quota)
	if n, err := f.RemoveDirAll(ctx, "d"); n != 1 || err != nil {
		t.Error(n, err)
	}
	if err := f.Mkdir(ctx, "e"); err != nil {
		t.Error(err)
	}
	if err := f.Append(ctx, "b", make([]byte, 95)); err != nil { // to the byte
		t.Error(err)
	}
	code(t, f.Append(ctx, "b", make([]byte, 1)), fsapi.Quota)
}

// A call that the quota refuses makes nothing.
func TestQuotaBeforeEffect(t *testing.T) {
	q := view.NewQuota(10, 10)
	f, dir := newFS(t, view.View{Quota: q})
	code(t, f.Append(ctx, "new", make([]byte, 11)), fsapi.Quota)
	code(t, f.WriteFile(ctx, "new", make([]byte, 11)), fsapi.Quota)
	code(t, f.Append(ctx, "none/new", make([]byte, 11)), fsapi.NotFound)
	if l, err := os.ReadDir(dir); err != nil || len(l) != 0 {
		t.Errorf("%v, %v", l, err)
	}
	if bytes, files := q.Used(); bytes != 0 || files != 0 {
		t.Errorf("%d bytes and %d files are counted", bytes, files)
	}
	if err := f.Append(ctx, "new", make([]byte, 10)); err != nil {
		t.Error(err)
	}
	code(t, f.Append(ctx, "new", make([]byte, 1)), fsapi.Quota)
	if err := f.Append(ctx, "new", nil); err != nil {
		t.Error(err)
	}
	if bytes, files := q.Used(); bytes != 10 || files != 1 {
		t.Errorf("%d bytes and %d files are counted", bytes, files)
	}
}
