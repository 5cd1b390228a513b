package wasip1

import (
	"encoding/binary"
	"math"
	"time"
)

// maxSubscriptions bounds what one poll_oneoff may wait for: every descriptor
// for reading and for writing, and clocks.
const maxSubscriptions = 4 * DefaultMaxFiles

const (
	subscriptionSize = 48
	eventSize        = 32

	eventClock   = 0
	eventFdRead  = 1
	eventFdWrite = 2

	clockAbsolute = 1
	hangup        = 1
)

// poll is one poll_oneoff: the events that have come, and what is waited for.
type poll struct {
	call
	out    []byte
	events uint32
	alarms []alarm
	input  *stream // waited for by readers
	wait   <-chan struct{}
	reads  []uint64 // the user data of readers
}

// alarm is a clock that is waited for.
type alarm struct {
	userdata uint64
	due      time.Time
}

// pollOneoff is (subscriptions, events, count, happened). It waits until
// something happens; what can't be waited for happens at once, as an event with
// an error.
func (c call) pollOneoff() Errno {
	n := c.u32(2)
	if n == 0 || n > maxSubscriptions {
		return EINVAL
	}
	subs, errno := c.mem.array(c.u32(0), n, subscriptionSize)
	if errno != Success {
		return errno
	}
	out, errno := c.mem.array(c.u32(1), n, eventSize)
	if errno != Success {
		return errno
	}
	result, errno := c.mem.bytes(c.u32(3), 4)
	if errno != Success {
		return errno
	}
	// The guest may have its events overwrite its subscriptions.
	subs = append([]byte(nil), subs...)
	p := poll{call: c, out: out}
	start := time.Now()
	for ; len(subs) > 0; subs = subs[subscriptionSize:] {
		p.subscribe(subs, start)
	}
	if errno := p.run(); errno != Success {
		return errno
	}
	binary.LittleEndian.PutUint32(result, p.events)
	return Success
}

func (p *poll) subscribe(sub []byte, start time.Time) {
	le := binary.LittleEndian
	userdata, tag := le.Uint64(sub), sub[8]
	switch tag {
	case eventClock:
		p.clock(userdata, le.Uint32(sub[16:]), le.Uint64(sub[24:]), le.Uint16(sub[40:]), start)
	case eventFdRead, eventFdWrite:
		p.descriptor(userdata, tag, le.Uint32(sub[16:]))
	default:
		p.event(userdata, tag, EINVAL, 0, 0)
	}
}

func (p *poll) clock(userdata uint64, id uint32, timeout uint64, flags uint16, start time.Time) {
	now, ok := p.now(id)
	if !ok || flags&^clockAbsolute != 0 {
		p.event(userdata, eventClock, EINVAL, 0, 0)
		return
	}
	if flags&clockAbsolute != 0 {
		timeout -= min(timeout, now)
	}
	d := time.Duration(min(timeout, math.MaxInt64))
	p.alarms = append(p.alarms, alarm{userdata, start.Add(d)})
}

func (p *poll) descriptor(userdata uint64, tag byte, fd uint32) {
	need := rightPollFdReadwrite | rightFdRead
	if tag == eventFdWrite {
		need = rightPollFdReadwrite | rightFdWrite
	}
	d, errno := p.lock(fd, 0, Success)
	if errno != Success {
		p.event(userdata, tag, errno, 0, 0)
		return
	}
	defer p.unlock(d)
	switch {
	case d.kind == kindDir || d.kind == kindRoot:
		p.event(userdata, tag, EBADF, 0, 0)
	case d.base&need != need:
		p.event(userdata, tag, ENOTCAPABLE, 0, 0)
	case tag == eventFdWrite:
		p.event(userdata, tag, Success, 0, 0)
	case d.kind == kindFile:
		a, err := d.node.fs.GetAttr(p.ctx, d.node.id, d.file)
		p.event(userdata, tag, errnoOf(err), uint64(max(a.Size-d.pos, 0)), 0)
	default:
		if wait := d.stream.request(inputChunk); wait != nil {
			p.input, p.wait = d.stream, wait
			p.reads = append(p.reads, userdata)
			return
		}
		p.readable(d.stream, userdata)
	}
}

// readable is the event of an input that can be read without waiting.
func (p *poll) readable(s *stream, userdata uint64) {
	n, flags := s.pending(), uint16(0)
	if n == 0 {
		flags = hangup
	}
	p.event(userdata, eventFdRead, Success, uint64(n), flags)
}

// event writes one event. There is room for one of each subscription.
func (p *poll) event(userdata uint64, tag byte, errno Errno, nbytes uint64, flags uint16) {
	b := p.out[p.events*eventSize:][:eventSize]
	p.events++
	clear(b)
	le := binary.LittleEndian
	le.PutUint64(b, userdata)
	le.PutUint16(b[8:], uint16(errno))
	b[10] = tag
	le.PutUint64(b[16:], nbytes)
	le.PutUint16(b[24:], flags)
}

// run waits until there is an event, unless there is one already.
func (p *poll) run() Errno {
	if p.events == 0 {
		var alarm <-chan time.Time
		if len(p.alarms) > 0 {
			due := p.alarms[0].due
			for _, a := range p.alarms[1:] {
				if a.due.Before(due) {
					due = a.due
				}
			}
			t := time.NewTimer(time.Until(due))
			defer t.Stop()
			alarm = t.C
		}
		select {
		case <-alarm:
		case <-p.wait:
		case <-p.ctx.Done():
			return EINTR
		}
	}
	now := time.Now()
	for _, a := range p.alarms {
		if !a.due.After(now) {
			p.event(a.userdata, eventClock, Success, 0, 0)
		}
	}
	select {
	case <-p.wait:
		for _, userdata := range p.reads {
			p.readable(p.input, userdata)
		}
	default: // and where nothing is waited for
	}
	return Success
}
