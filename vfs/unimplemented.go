package vfs

import (
	"context"
	"syscall"
)

// Unimplemented answers ENOSYS to everything, so that a filesystem which embeds
// it writes only what it can do.
type Unimplemented struct{}

var _ FS = Unimplemented{}

func (Unimplemented) Lookup(context.Context, NodeID, string) (Entry, error) {
	return Entry{}, syscall.ENOSYS
}
func (Unimplemented) Forget(NodeID, uint64) {}
func (Unimplemented) GetAttr(context.Context, NodeID, Handle) (Attr, error) {
	return Attr{}, syscall.ENOSYS
}
func (Unimplemented) SetAttr(context.Context, NodeID, Handle, SetAttr) (Attr, error) {
	return Attr{}, syscall.ENOSYS
}
func (Unimplemented) Readlink(context.Context, NodeID) (string, error) { return "", syscall.ENOSYS }
func (Unimplemented) Open(context.Context, NodeID, int) (Handle, error) {
	return nil, syscall.ENOSYS
}
func (Unimplemented) Create(context.Context, NodeID, string, int, uint32) (Entry, Handle, error) {
	return Entry{}, nil, syscall.ENOSYS
}
func (Unimplemented) Tmpfile(context.Context, NodeID, int, uint32) (Entry, Handle, error) {
	return Entry{}, nil, syscall.EOPNOTSUPP
}
func (Unimplemented) Replace(context.Context, NodeID, Handle) error { return syscall.EOPNOTSUPP }
func (Unimplemented) Mkdir(context.Context, NodeID, string, uint32) (Entry, error) {
	return Entry{}, syscall.ENOSYS
}
func (Unimplemented) Mknod(context.Context, NodeID, string, uint32, uint64) (Entry, error) {
	return Entry{}, syscall.ENOSYS
}
func (Unimplemented) Symlink(context.Context, NodeID, string, string) (Entry, error) {
	return Entry{}, syscall.ENOSYS
}
func (Unimplemented) Link(context.Context, NodeID, NodeID, string) (Entry, error) {
	return Entry{}, syscall.ENOSYS
}
func (Unimplemented) Unlink(context.Context, NodeID, string) error { return syscall.ENOSYS }
func (Unimplemented) Rmdir(context.Context, NodeID, string) error  { return syscall.ENOSYS }
func (Unimplemented) Rename(context.Context, NodeID, string, NodeID, string, RenameFlags) error {
	return syscall.ENOSYS
}
func (Unimplemented) OpenDir(context.Context, NodeID) (DirHandle, error) {
	return nil, syscall.ENOSYS
}
func (Unimplemented) GetXattr(context.Context, NodeID, string, []byte) (int, error) {
	return 0, syscall.EOPNOTSUPP
}
func (Unimplemented) SetXattr(context.Context, NodeID, string, []byte, int) error {
	return syscall.EOPNOTSUPP
}
func (Unimplemented) ListXattr(context.Context, NodeID, []byte) (int, error) {
	return 0, syscall.EOPNOTSUPP
}
func (Unimplemented) RemoveXattr(context.Context, NodeID, string) error { return syscall.EOPNOTSUPP }
func (Unimplemented) StatFS(context.Context, NodeID) (StatFS, error) {
	return StatFS{}, syscall.ENOSYS
}
func (Unimplemented) Path(context.Context, NodeID) (string, error) { return "", syscall.ENOSYS }
func (Unimplemented) Watch(Invalidator) (stop func())              { return func() {} }
