package astridhost

import (
	"errors"

	"github.com/astridfs/astridfs/capsulehost/component"
	"github.com/astridfs/astridfs/capsulehost/component/abi"
	"github.com/astridfs/astridfs/capsulehost/kv"
)

// Cases of kv's error-code.
const (
	kvInvalidKey = iota
	kvTooLarge
	kvQuota
	kvMismatch
	kvUnknown

	kvError = "variant { invalid-key, too-large, quota, cas-mismatch, unknown(string) }"
)

// onStore makes a function on the namespace.
func onStore(params, ok string, do func(c *call, s *kv.Store) (abi.Value, error)) component.HostFunc {
	return function(params, "result<"+ok+", "+kvError+">", func(c *call) abi.Value {
		if c.in.KV == nil {
			return unknown(kvUnknown, "there is no store")
		}
		if err := c.in.Slots.Enter(c.Ctx); err != nil {
			return unknown(kvUnknown, "the host is busy")
		}
		defer c.in.Slots.Leave()
		v, err := do(c, c.in.KV)
		switch {
		case err == nil:
			return abi.Ok(v)
		case errors.Is(err, kv.ErrInvalidKey):
			return failure(kvInvalidKey)
		case errors.Is(err, kv.ErrTooLarge):
			return failure(kvTooLarge)
		case errors.Is(err, kv.ErrQuota):
			return failure(kvQuota)
		case errors.Is(err, kv.ErrMismatch):
			return failure(kvMismatch)
		}
		return unknown(kvUnknown, "the store failed") // the rest is of the host
	})
}

func kvFuncs() map[string]component.HostFunc {
	return map[string]component.HostFunc{
		"kv-get": onStore("string", "option<list<u8>>", func(c *call, s *kv.Store) (abi.Value, error) {
			v, err := s.Get(c.text(0))
			if v == nil {
				return abi.Value{}, err
			}
			return abi.Some(abi.Value{Ref: v}), err
		}),
		"kv-set": onStore("string, list<u8>", "_", func(c *call, s *kv.Store) (abi.Value, error) {
			return abi.Value{}, s.Set(c.text(0), c.Args[1].Bytes())
		}),
		"kv-delete": onStore("string", "_", func(c *call, s *kv.Store) (abi.Value, error) {
			return abi.Value{}, s.Delete(c.text(0))
		}),
		"kv-list-keys": onStore("string", "list<string>", func(c *call, s *kv.Store) (abi.Value, error) {
			keys, more, err := s.List(c.text(0), "", kv.MaxPage)
			if more {
				err = kv.ErrTooLarge
			}
			return texts(keys), err
		}),
		"kv-list-keys-page": onStore("string, option<string>, u32", "record { keys: list<string>, next-cursor: option<string> }", page),
		"kv-clear-prefix": onStore("string", "u64", func(c *call, s *kv.Store) (abi.Value, error) {
			n, err := s.Clear(c.text(0))
			return abi.Value{Num: n}, err
		}),
		"kv-cas": onStore("string, option<list<u8>>, list<u8>", "_", func(c *call, s *kv.Store) (abi.Value, error) {
			var old []byte
			if c.Args[1].Num == 1 {
				old = append([]byte{}, c.Args[1].Payload().Bytes()...)
			}
			return abi.Value{}, s.CompareAndSwap(c.text(0), old, c.Args[2].Bytes())
		}),
	}
}

// defaultPage is how many keys a page has for a capsule that does not say.
const defaultPage = 256

// page lists the keys behind the cursor, which is the last key of the page
// before.
func page(c *call, s *kv.Store) (abi.Value, error) {
	after := ""
	if c.Args[1].Num == 1 {
		after = c.Args[1].Payload().Text()
	}
	limit := int(c.Args[2].Num)
	if limit == 0 {
		limit = defaultPage
	}
	keys, more, err := s.List(c.text(0), after, min(limit, kv.MaxPage))
	next := abi.Value{}
	if more {
		next = abi.Some(abi.String(keys[len(keys)-1]))
	}
	return abi.Tuple(texts(keys), next), err
}
