package session

import (
	"context"
	"slices"

	"github.com/astridfs/astridfs/auditlog/auditfs"
	"github.com/astridfs/astridfs/capsulehost/component/astridhost"
	"github.com/astridfs/astridfs/capsulehost/manifest"
)

// astrid returns what a run's capsule has of Astrid's interfaces besides files,
// and what gives its store back. Without a manifest, which names the topics, it
// may use every one. What it publishes is recorded by rec, if that is not nil.
func (o *Owner) astrid(req *RunRequest, m *manifest.Manifest, capsule string, rec *auditfs.Recorder) (astridhost.Config, func()) {
	actor := capsule // as the record has it
	var c astridhost.Config
	for _, msg := range req.Messages {
		c.Messages = append(c.Messages, astridhost.Message(msg))
	}
	read, write := patterns(req, m)
	has := map[string]bool{"fs_read": len(read) > 0, "fs_write": len(write) > 0, "ipc_publish": true, "ipc_subscribe": true}
	if m != nil {
		capsule = m.Name
		c.Values = m.Config
		c.Publish, c.Subscribe = among(m.Publish), among(m.Subscribe)
		has["ipc_publish"], has["ipc_subscribe"] = len(m.Publish) > 0, len(m.Subscribe) > 0
		for _, in := range m.Interceptors {
			c.Bindings = append(c.Bindings, astridhost.Binding{Action: in.Action, Topic: in.Event})
		}
	}
	for name, ok := range has {
		if ok {
			c.Capabilities = append(c.Capabilities, name)
		}
	}
	slices.Sort(c.Capabilities)
	c.Record = func(ctx context.Context, e astridhost.Event) error {
		return bus(ctx, rec, actor, req.Principal, e)
	}
	store, release := o.runs.stores.Open(req.Principal, capsule)
	c.KV = store
	return c, release
}

// among tells whether a topic, or a pattern of topics, is granted by one of the
// patterns.
func among(patterns []string) func(topic string) bool {
	return func(topic string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return p == topic || manifest.MatchTopic(p, topic) })
	}
}
