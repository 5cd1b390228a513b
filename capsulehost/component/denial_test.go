package component

import (
	"errors"
	"testing"

	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/component/binary"
	"github.com/astridfs/astridfs/capsulehost/guest"
)

// TestDenialTerms finds for types as WASI's sockets and http have them what says
// that a call is denied.
func TestDenialTerms(t *testing.T) {
	text := &binary.ValType{Kind: binary.String}
	result := func(err *binary.ValType) *binary.FuncType {
		return &binary.FuncType{Result: &binary.ValType{Kind: binary.Result, Err: err}}
	}
	variant := func(cases ...binary.Field) *binary.ValType {
		return &binary.ValType{Kind: binary.Variant, Fields: cases}
	}
	for name, c := range map[string]struct {
		fn   *binary.FuncType
		want func(v abi.Value) bool
	}{
		"sockets": {result(&binary.ValType{Kind: binary.Enum, Labels: []string{"unknown", "access-denied"}}),
			func(v abi.Value) bool { return v.Num == 1 && v.Payload().Num == 1 }},
		"http": {result(variant(binary.Field{Name: "internal-error", Type: &binary.ValType{Kind: binary.Option, Elem: text}}, binary.Field{Name: "HTTP-request-denied"})),
			func(v abi.Value) bool { return v.Num == 1 && v.Payload().Num == 1 }},
		"only internal-error": {result(variant(binary.Field{Name: "dns"}, binary.Field{Name: "internal-error", Type: &binary.ValType{Kind: binary.Option, Elem: text}})),
			func(v abi.Value) bool {
				return v.Payload().Num == 1 && v.Payload().Payload().Payload().Text() == notProvided
			}},
		"no error type": {result(nil), func(v abi.Value) bool { return v.Num == 1 }},
		"a handle": {&binary.FuncType{Result: &binary.ValType{Kind: binary.Own, Resource: &binary.Resource{}}},
			func(v abi.Value) bool { return v.Num == 0 && v.Ref == nil }},
	} {
		if v := denial(name, c.fn)(&Call{}); !c.want(v) {
			t.Errorf("%s: %+v", name, v)
		}
	}
	defer func() {
		var f *guest.Fault
		if err, _ := recover().(error); !errors.As(err, &f) {
			t.Errorf("a function that cannot say so: %v", err)
		}
	}()
	denial("clock", &binary.FuncType{Result: text})(&Call{})
}

// TestVersions finds an interface of a version's name for every later patch.
func TestVersions(t *testing.T) {
	s := NewSet([]*Interface{{Name: "wasi:io/poll@0.2"}, {Name: "astrid:fs/host@1.0.0"}})
	for name, want := range map[string]bool{
		"wasi:io/poll@0.2.0": true, "wasi:io/poll@0.2.12": true, "wasi:io/poll@0.3.0": false, "wasi:io/poll@0.20.1": false,
		"wasi:io/poll": false, "wasi:io/polls@0.2.0": false, "astrid:fs/host@1.0.0": true, "astrid:fs/host@1.0.1": false,
	} {
		if got := s.find(name) != nil; got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
