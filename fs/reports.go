package fs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"time"

	"sregfs/index"
)

// The reports of the control files: each makes a text when its file is opened.

// statusReport is index.Status as JSON.
func (fsys *FS) statusReport(context.Context) ([]byte, error) {
	s := fsys.ix.Status()
	s.Mount = fsys.dir
	b, err := json.MarshalIndent(s, "", "  ")
	return append(b, '\n'), err
}

// transfersReport is one JSON line per push that is under way or parked.
func (fsys *FS) transfersReport(context.Context) ([]byte, error) {
	return jsonLines(fsys.ix.Pushes())
}

func jsonLines[T any](list []T) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, v := range list {
		if err := enc.Encode(v); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// metricsReport has the figures in the text format of Prometheus.
func (fsys *FS) metricsReport(context.Context) ([]byte, error) {
	s := fsys.ix.Status()
	var b bytes.Buffer
	metric := func(kind, name, help string, value any) {
		fmt.Fprintf(&b, "# HELP sregfs_%s %s\n# TYPE sregfs_%s %s\nsregfs_%s %v\n", name, help, name, kind, name, value)
	}
	online := 0
	if s.Error == "" {
		online = 1
	}
	metric("gauge", "online", "1 if the last exchange with Drive went well.", online)
	metric("gauge", "images", "Images in my registry.", s.Images)
	metric("gauge", "shared_images", "Images other people share with me.", s.Shared)
	metric("gauge", "drafts", "Local files that are no image yet.", s.Drafts)
	metric("gauge", "pushes", "Pushes under way or parked.", len(s.Pushes))
	metric("gauge", "cache_bytes", "Bytes of images on this machine.", s.Cache.Used)
	metric("gauge", "cache_limit_bytes", "Budget of the cache.", s.Cache.Limit)
	metric("counter", "cache_evicted_bytes_total", "Bytes removed from this machine to make room.", s.Cache.Evicted)
	fetched := func(name, help string, value func(index.Traffic) int64) {
		fmt.Fprintf(&b, "# HELP sregfs_%s %s\n# TYPE sregfs_%s counter\n", name, help, name)
		for _, class := range slices.Sorted(maps.Keys(s.Cache.Fetched)) {
			fmt.Fprintf(&b, "sregfs_%s{class=%q} %d\n", name, class, value(s.Cache.Fetched[class]))
		}
	}
	fetched("fetched_requests_total", "Requests for content, by what they were made for.", func(t index.Traffic) int64 { return t.Requests })
	fetched("fetched_bytes_total", "Bytes of content, by what they were fetched for.", func(t index.Traffic) int64 { return t.Bytes })
	metric("counter", "drive_requests_total", "HTTP requests to Drive.", s.Requests.Requests)
	metric("counter", "drive_retries_total", "Requests repeated after a passing fault.", s.Requests.Retries)
	metric("counter", "drive_received_bytes_total", "Bytes received from Drive.", s.Requests.BytesIn)
	metric("counter", "drive_sent_bytes_total", "Bytes sent to Drive.", s.Requests.BytesOut)
	metric("counter", "kernel_requests_total", "Requests of the kernel to this mount.", fsys.requests.Load())
	processMetrics(metric)
	if s.Synced != nil {
		metric("gauge", "sync_age_seconds", "Time since Drive last told its changes.", time.Since(*s.Synced).Seconds())
	}
	if s.Quota != nil {
		metric("gauge", "drive_quota_bytes", "Room of the account, 0 if unlimited.", s.Quota.Limit)
		metric("gauge", "drive_used_bytes", "Room that is used.", s.Quota.Usage)
	}
	return b.Bytes(), nil
}

// processMetrics are the figures of the process itself: what grows without end when something leaks.
func processMetrics(metric func(kind, name, help string, value any)) {
	gc := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(gc)
	metric("gauge", "goroutines", "Goroutines.", runtime.NumGoroutine())
	metric("gauge", "heap_bytes", "Bytes of objects that the last collection found in use.", gc[0].Value.Uint64())
	metric("counter", "gc_cycles_total", "Collections so far.", gc[1].Value.Uint64())
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		metric("gauge", "open_fds", "Open file descriptors.", len(fds)-1) // without the one that reads the directory
	}
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		var kib int64
		if _, err := fmt.Sscan(statusField(status, "VmRSS:"), &kib); err == nil { // "1234 kB"
			metric("gauge", "resident_bytes", "Memory in use, mapped files included.", kib<<10)
		}
	}
}

// prettyJSON is labels as people like to read them.
func prettyJSON(labels map[string]string) (string, error) {
	if labels == nil {
		labels = map[string]string{}
	}
	b, err := json.MarshalIndent(labels, "", "  ")
	return string(b) + "\n", err
}
