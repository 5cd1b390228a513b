package manifest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Interceptor says which action an event is handled by.
type Interceptor struct {
	Event  string // a topic, or a pattern; see MatchTopic
	Action string
	// Priority orders the interceptors of an event, the lowest first.
	Priority int64
}

// defaultPriority is that of an interceptor that names none.
const defaultPriority = 100

type interceptor struct {
	Event    string `toml:"event"`
	Action   string `toml:"action"`
	Priority *int64 `toml:"priority"`
}

// events reads what a manifest says of topics: the table [subscribe], whose
// handlers are interceptors, or the older [[interceptor]]; [publish], or the
// older lists among the capabilities.
func (p *parser) events(doc *document, m *Manifest) {
	m.Publish = slices.Concat(doc.Capabilities.Publish, slices.Sorted(maps.Keys(doc.Publish)))
	m.Subscribe = slices.Concat(doc.Capabilities.Subscribe, slices.Sorted(maps.Keys(doc.Subscribe)))
	for i, c := range doc.Interceptor {
		if c.Event == "" || c.Action == "" {
			p.fail(fmt.Sprintf("interceptor[%d]", i), "", "it needs an event and an action")
		}
		m.Interceptors = append(m.Interceptors, Interceptor{c.Event, c.Action, valueOr(c.Priority, defaultPriority)})
	}
	for _, topic := range slices.Sorted(maps.Keys(doc.Subscribe)) {
		table, ok := doc.Subscribe[topic].(map[string]any)
		if !ok {
			continue // a list of what may be subscribed to
		}
		handler, ok := table["handler"].(string)
		if !ok {
			if table["handler"] != nil {
				p.fail("subscribe."+topic+".handler", "", "want the name of an action")
			}
			continue
		}
		in := Interceptor{Event: topic, Action: handler, Priority: defaultPriority}
		if n, ok := table["priority"].(int64); ok {
			in.Priority = n
		} else if table["priority"] != nil {
			p.fail("subscribe."+topic+".priority", "", "want a whole number")
		}
		m.Interceptors = append(m.Interceptors, in)
	}
	// Those of one priority: an exact topic before a pattern, else as they stand.
	slices.SortStableFunc(m.Interceptors, func(a, b Interceptor) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority),
			cmp.Compare(strings.Count(a.Event, "*"), strings.Count(b.Event, "*")))
	})
	for key, v := range doc.Config {
		if m.Config == nil {
			m.Config = map[string]string{}
		}
		if text, ok := v.(string); ok {
			m.Config[key] = text
			continue
		}
		b, err := json.Marshal(v)
		if err != nil { // a float that is none of JSON's
			p.fail("config."+key, "", "it has no value in JSON")
		}
		m.Config[key] = string(b)
	}
}

func valueOr(p *int64, def int64) int64 {
	if p == nil {
		return def
	}
	return *p
}

// Handler returns the action that handles an event first.
func (m *Manifest) Handler(topic string) (Interceptor, bool) {
	i := slices.IndexFunc(m.Interceptors, func(in Interceptor) bool { return MatchTopic(in.Event, topic) })
	if i < 0 {
		return Interceptor{}, false
	}
	return m.Interceptors[i], true
}

// MatchTopic tells whether a topic, words with dots between them, matches a
// pattern: "*" as a word stands for one word, and as the last word for one or
// more.
func MatchTopic(pattern, topic string) bool {
	p, t := strings.Split(pattern, "."), strings.Split(topic, ".")
	for i, word := range p {
		switch {
		case i >= len(t) || t[i] == "" || word != "*" && word != t[i]:
			return false
		case word == "*" && i == len(p)-1:
			return true
		}
	}
	return len(p) == len(t)
}

// Main returns the component of the package that is run: the first that is no
// library; nil if the manifest names none.
func (m *Manifest) Main() *Component {
	for i := range m.Components {
		if !m.Components[i].Library {
			return &m.Components[i]
		}
	}
	return nil
}
