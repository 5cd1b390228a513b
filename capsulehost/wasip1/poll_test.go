package wasip1

import (
	"context"
	"encoding/binary"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

// sub is a subscription; event what came of one.
type sub struct {
	userdata uint64
	tag      byte
	fd       uint32 // or the clock
	timeout  uint64
	flags    uint16
}

type event struct {
	userdata uint64
	errno    Errno
	tag      byte
	nbytes   uint64
	flags    uint16
}

// poll is poll_oneoff.
func (g *guest) poll(ctx context.Context, subs ...sub) ([]event, Errno) {
	g.t.Helper()
	events, errno, err := g.tryPoll(ctx, subs...)
	if err != nil {
		g.t.Fatal(err)
	}
	return events, errno
}

func (g *guest) tryPoll(ctx context.Context, subs ...sub) ([]event, Errno, error) {
	g.t.Helper()
	le := binary.LittleEndian
	raw := make([]byte, len(subs)*subscriptionSize)
	for i, s := range subs {
		b := raw[i*subscriptionSize:]
		le.PutUint64(b, s.userdata)
		b[8] = s.tag
		le.PutUint32(b[16:], s.fd)
		le.PutUint64(b[24:], s.timeout)
		le.PutUint16(b[40:], s.flags)
	}
	in, _ := g.str(string(raw))
	out, n := g.room(uint32(len(subs)*eventSize)), g.room(4)
	errno, err := g.try(ctx, "poll_oneoff", in, out, uint64(len(subs)), n)
	if err != nil || errno != Success {
		return nil, errno, err
	}
	events := make([]event, g.u32(n))
	for i := range events {
		b := g.bytes(out+uint64(i*eventSize), eventSize)
		events[i] = event{le.Uint64(b), Errno(le.Uint16(b[8:])), b[10], le.Uint64(b[16:]), le.Uint16(b[24:])}
	}
	return events, Success, nil
}

func (g *guest) polled(want []event, subs ...sub) {
	g.t.Helper()
	got, errno := g.poll(context.Background(), subs...)
	if errno != Success || len(got) != len(want) {
		g.t.Errorf("poll_oneoff(%+v) = %+v, %d, want %+v", subs, got, errno, want)
		return
	}
	for i := range want {
		if got[i] != want[i] {
			g.t.Errorf("event %d of %+v is %+v, want %+v", i, subs, got[i], want[i])
		}
	}
}

func TestPoll(t *testing.T) {
	r, w := io.Pipe()
	g := newGuest(t, func(c *Config) { c.Stdin = r })
	g.file("f", "12345")
	f := uint32(g.open("f", 0, 0))
	noPoll, _ := g.openAt(fdWork, "f", 0, 0, rightFdRead, 0, 0)
	const hour = uint64(time.Hour)
	stdin, alarm := sub{userdata: 1, tag: eventFdRead}, sub{userdata: 2, tag: eventClock, fd: 1, timeout: hour}
	now := uint64(time.Now().UnixNano())

	// What can be done at once does not wait for the clock.
	for _, c := range []struct {
		sub  sub
		want event
	}{
		{sub{userdata: 9, tag: eventFdRead, fd: f}, event{9, Success, eventFdRead, 5, 0}},
		{sub{userdata: 9, tag: eventFdWrite, fd: f}, event{9, Success, eventFdWrite, 0, 0}},
		{sub{userdata: 9, tag: eventFdWrite, fd: 1}, event{9, Success, eventFdWrite, 0, 0}},
		{sub{userdata: 9, tag: eventFdRead, fd: 99}, event{9, EBADF, eventFdRead, 0, 0}},
		{sub{userdata: 9, tag: eventFdRead, fd: fdWork}, event{9, EBADF, eventFdRead, 0, 0}},
		{sub{userdata: 9, tag: eventFdRead, fd: uint32(noPoll)}, event{9, ENOTCAPABLE, eventFdRead, 0, 0}},
		{sub{userdata: 9, tag: eventFdRead, fd: 1}, event{9, ENOTCAPABLE, eventFdRead, 0, 0}},
		{sub{userdata: 9, tag: eventFdWrite, fd: 0}, event{9, ENOTCAPABLE, eventFdWrite, 0, 0}},
		{sub{userdata: 9, tag: 3}, event{9, EINVAL, 3, 0, 0}},
		{sub{userdata: 9, tag: eventClock, fd: 2}, event{9, EINVAL, eventClock, 0, 0}},
		{sub{userdata: 9, tag: eventClock, fd: 0, flags: 2}, event{9, EINVAL, eventClock, 0, 0}},
		{sub{userdata: 9, tag: eventClock, fd: 1, timeout: 0}, event{9, Success, eventClock, 0, 0}},
		{sub{userdata: 9, tag: eventClock, fd: 0, timeout: now, flags: 1}, event{9, Success, eventClock, 0, 0}},
		{sub{userdata: 9, tag: eventClock, fd: 1, timeout: 1, flags: 1}, event{9, Success, eventClock, 0, 0}},
	} {
		g.polled([]event{c.want}, alarm, c.sub, stdin)
		g.top = 4096
	}

	// The earlier of two clocks; one that lies in the far future.
	g.polled([]event{{3, Success, eventClock, 0, 0}}, alarm, sub{userdata: 3, tag: eventClock, fd: 0, timeout: 2_000_000},
		sub{userdata: 4, tag: eventClock, fd: 1, timeout: math.MaxUint64},
		sub{userdata: 5, tag: eventClock, fd: 0, timeout: now + hour, flags: 1})

	go w.Write([]byte("input"))
	g.polled([]event{{1, Success, eventFdRead, 5, 0}}, alarm, stdin)
	g.polled([]event{{1, Success, eventFdRead, 5, 0}}, alarm, stdin) // and still
	got, _ := g.read(0, 100)
	equal(t, "what came", got, "input")
	go w.Close()
	g.polled([]event{{1, Success, eventFdRead, 0, hangup}}, stdin)

	g.want(EINVAL, "poll_oneoff", 0, 0, 0, 0)
	g.want(EINVAL, "poll_oneoff", 0, 0, maxSubscriptions+1, 0)
	p := g.room(64)
	g.want(EFAULT, "poll_oneoff", beyond-47, p, 1, p)
	g.want(EFAULT, "poll_oneoff", p, beyond-31, 1, p)
	g.want(EFAULT, "poll_oneoff", p, p, 1, beyond-3)
}

// TestPollOverlapping has the events written over the subscriptions.
func TestPollOverlapping(t *testing.T) {
	g := newGuest(t)
	raw := make([]byte, 3*subscriptionSize)
	for i := range 3 {
		raw[i*subscriptionSize] = byte(i + 1)
		raw[i*subscriptionSize+8] = eventFdWrite
		raw[i*subscriptionSize+16] = 1
	}
	p, _ := g.str(string(raw))
	n := g.room(4)
	g.ok("poll_oneoff", p, p, 3, n)
	equal(t, "events", g.u32(n), 3)
	for i := range uint64(3) {
		equal(t, "userdata", g.u64(p+i*eventSize), i+1)
	}
}

// TestPollCancelled ends a wait by its context, and the guest with it.
func TestPollCancelled(t *testing.T) {
	r, _ := io.Pipe()
	defer r.Close()
	g := newGuest(t, func(c *Config) { c.Stdin = r })
	for _, subs := range [][]sub{
		{{tag: eventClock, fd: 1, timeout: uint64(time.Hour)}},
		{{tag: eventFdRead}},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		_, _, err := g.tryPoll(ctx, subs...)
		ended(t, err)
		cancel()
	}
}

// TestPollInput polls an input that is not at its end and is there at once.
func TestPollInput(t *testing.T) {
	g := newGuest(t, func(c *Config) { c.Stdin = strings.NewReader("abc") })
	var all string
	for {
		events, errno := g.poll(context.Background(), sub{tag: eventFdRead})
		if errno != Success || len(events) != 1 {
			t.Fatalf("%v, %d", events, errno)
		}
		got, _ := g.read(0, 2)
		all += got
		if events[0].flags&hangup != 0 {
			break
		}
	}
	equal(t, "input", all, "abc")
}
