package overlay

import (
	"encoding/binary"
	"syscall"

	"github.com/astridfs/astridfs/vfs/at"
)

const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// The form of an ACL in an extended attribute: a version, then entries of tag,
// permissions and id, little-endian.
const (
	aclHeader   = 4
	aclEntry    = 8
	aclUserObj  = 0x01
	aclGroupObj = 0x04
	aclMask     = 0x10
	aclOther    = 0x20
)

// inheritACL gives the new node name in dirfd what the default ACL of the
// directory parent gives to nodes made in it, and returns the permission bits
// that it leaves of perm. Without such an ACL nothing happens.
func (fs *FS) inheritACL(parent, dirfd int, name string, perm uint32, isDir bool) (uint32, error) {
	var value []byte
	n, err := readXattr(parent, "", aclDefault, &value)
	if err != nil {
		if absent(err) {
			return perm, nil
		}
		return 0, err
	}
	def := value[:n]
	if len(def) < aclHeader || (len(def)-aclHeader)%aclEntry != 0 {
		return 0, syscall.EIO
	}
	access := append([]byte(nil), def...)
	masked := false
	for i := aclHeader; i < len(access); i += aclEntry {
		masked = masked || binary.LittleEndian.Uint16(access[i:]) == aclMask
	}
	perm = narrowACL(access, perm, masked)
	if isDir {
		if err := at.SetXattr(dirfd, name, aclDefault, def, 0); err != nil {
			return 0, err
		}
	}
	return perm, at.SetXattr(dirfd, name, aclAccess, access, 0)
}

// narrowACL takes from the entries of acl what perm does not allow, and from
// perm what they do not: the mask's entry stands for the group's where there is
// one.
func narrowACL(acl []byte, perm uint32, masked bool) uint32 {
	for i := aclHeader; i < len(acl); i += aclEntry {
		shift := uint(0)
		switch tag := binary.LittleEndian.Uint16(acl[i:]); {
		case tag == aclUserObj:
			shift = 6
		case tag == aclGroupObj && !masked, tag == aclMask:
			shift = 3
		case tag == aclOther:
		default:
			continue
		}
		has := uint32(binary.LittleEndian.Uint16(acl[i+2:])) & 7
		want := perm >> shift & 7
		perm &^= 7 << shift
		perm |= (has & want) << shift
		binary.LittleEndian.PutUint16(acl[i+2:], uint16(has&want))
	}
	return perm
}
