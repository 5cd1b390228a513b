package guest

import (
	"context"
	"errors"

	"github.com/tetratelabs/wazero/sys"
)

// Over ends a guest whose context has ended, as the runtime does when it looks. A
// call that failed for that asks it, so that the guest does not go on with the
// failure, and maybe returns as if nothing were.
func Over(ctx context.Context) {
	switch err := ctx.Err(); {
	case err == nil:
	case errors.Is(err, context.DeadlineExceeded):
		panic(sys.NewExitError(sys.ExitCodeDeadlineExceeded))
	default:
		panic(sys.NewExitError(sys.ExitCodeContextCanceled))
	}
}

// carried is the key by which a context carries a *T.
type carried[T any] struct{}

// With returns a context in which host functions find v, the state of the guest
// that is called with it. A context carries one *T of each type.
func With[T any](ctx context.Context, v *T) context.Context {
	return context.WithValue(ctx, carried[T]{}, v)
}

// From returns the *T that ctx carries, or nil.
func From[T any](ctx context.Context) *T {
	v, _ := ctx.Value(carried[T]{}).(*T)
	return v
}

// MustFrom is From for a host function of the interface name, which traps if
// the guest has no such state.
func MustFrom[T any](ctx context.Context, name string) *T {
	v := From[T](ctx)
	if v == nil {
		Trap("%s is not provided to this guest", name)
	}
	return v
}
