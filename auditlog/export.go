package auditlog

import (
	"context"
	"encoding/json"
	"io"
	"strconv"
)

// WriteJSONL writes the chosen records as they stand in the log, one line each.
func WriteJSONL(ctx context.Context, dir string, filter Filter, w io.Writer) error {
	var buf []byte
	return Read(ctx, dir, filter, func(r Record) error {
		buf, _ = r.appendLine(buf[:0])
		_, err := w.Write(buf)
		return err
	})
}

// The shape of OpenTelemetry's log data in its JSON encoding, as far as it is
// used: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.
type (
	otelValue struct {
		String *string `json:"stringValue,omitempty"`
		Int    *string `json:"intValue,omitempty"` // 64-bit integers are strings there
	}
	otelAttr struct {
		Key   string    `json:"key"`
		Value otelValue `json:"value"`
	}
	otelRecord struct {
		Time         string     `json:"timeUnixNano"`
		Observed     string     `json:"observedTimeUnixNano"`
		Severity     int        `json:"severityNumber"`
		SeverityText string     `json:"severityText"`
		Body         otelValue  `json:"body"`
		Attributes   []otelAttr `json:"attributes"`
	}
	otelScopeLogs struct {
		Scope struct {
			Name string `json:"name"`
		} `json:"scope"`
		Records []otelRecord `json:"logRecords"`
	}
	otelResourceLogs struct {
		Resource struct {
			Attributes []otelAttr `json:"attributes"`
		} `json:"resource"`
		ScopeLogs []otelScopeLogs `json:"scopeLogs"`
	}
	otelLogs struct {
		ResourceLogs []otelResourceLogs `json:"resourceLogs"`
	}
)

func otelString(s string) otelValue { return otelValue{String: &s} }

func otelInt(n uint64) otelValue {
	s := strconv.FormatUint(n, 10)
	return otelValue{Int: &s}
}

// otelBatch is how many records go into one document of the export.
const otelBatch = 512

// WriteOTel writes the chosen records as OpenTelemetry log data: lines of JSON,
// each a whole ExportLogsServiceRequest, as the collector's file receiver takes.
func WriteOTel(ctx context.Context, dir string, filter Filter, w io.Writer) error {
	enc := json.NewEncoder(w)
	var batch []otelRecord
	session := ""
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		var res otelResourceLogs
		res.Resource.Attributes = []otelAttr{{"service.name", otelString("astridfs")}, {"astridfs.session", otelString(session)}}
		scope := otelScopeLogs{Records: batch}
		scope.Scope.Name = "astridfs.audit"
		res.ScopeLogs = []otelScopeLogs{scope}
		err := enc.Encode(otelLogs{[]otelResourceLogs{res}})
		batch = batch[:0]
		return err
	}
	err := Read(ctx, dir, filter, func(r Record) error {
		session = r.Session
		if batch = append(batch, otelOf(&r)); len(batch) < otelBatch {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// otelOf maps a record: severity INFO (9) for what was done, WARN (13) for what
// was denied, ERROR (17) for what failed.
func otelOf(r *Record) otelRecord {
	t := strconv.FormatInt(r.Time.UnixNano(), 10)
	body := r.Op
	for _, p := range []string{r.Path, r.To} {
		if p != "" {
			body += " " + EscapePath(p)
		}
	}
	o := otelRecord{Time: t, Observed: t, Severity: 9, SeverityText: "INFO", Body: otelString(body)}
	switch r.Outcome {
	case Denied:
		o.Severity, o.SeverityText = 13, "WARN"
	case Failed:
		o.Severity, o.SeverityText = 17, "ERROR"
	}
	text := func(key, value string) {
		if value != "" {
			o.Attributes = append(o.Attributes, otelAttr{key, otelString(value)})
		}
	}
	count := func(key string, n uint64) {
		if n != 0 {
			o.Attributes = append(o.Attributes, otelAttr{key, otelInt(n)})
		}
	}
	o.Attributes = append(o.Attributes, otelAttr{"astridfs.seq", otelInt(r.Seq)})
	text("astridfs.op", r.Op)
	text("file.path", EscapePath(r.Path))
	text("astridfs.path.to", EscapePath(r.To))
	text("astridfs.flags", r.Flags)
	text("astridfs.outcome", string(r.Outcome))
	text("error.type", r.Error)
	text("astridfs.capsule", r.Actor.Capsule)
	text("astridfs.principal", r.Actor.Principal)
	text("process.executable.name", r.Actor.Program)
	count("process.pid", uint64(r.Actor.PID))
	text("user.id", strconv.FormatUint(uint64(r.Actor.UID), 10)) // a string to OpenTelemetry
	count("astridfs.read", r.Read)
	count("astridfs.written", r.Written)
	text("astridfs.hash", r.Hash.String())
	return o
}
