package fs_test

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/indextest"
)

// The machinery of the fault matrix; what is in it, faults_test.go says.

// faultTime is the --timeout of the mounts of the matrix. faultLate is when a system call counts as one that hangs, on a
// machine that runs them all at once.
const (
	faultTime = 3 * time.Second
	faultLate = 3*faultTime + 5*time.Second
)

// faultRow is one operation, on a Drive and a mount of its own.
type faultRow struct {
	operation
	srv  *drivetest.Server
	user *drivetest.User
	m    *fstest.M
}

// cell is one fault in one operation.
type cell struct {
	*faultRow
	t       *testing.T
	fault   fault
	name    string // of its image, without the extension: "c/x7:1"
	content []byte // of its image
	env     []string
}

// start makes the row's Drive, the images of its cells, and the mount.
func (o operation) start(t *testing.T, cells int) *faultRow {
	t.Helper()
	row := &faultRow{operation: o, srv: drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})}
	row.user = row.srv.User("")
	indextest.Root(t, row.user)
	if o.published {
		for n := range cells {
			indextest.Put(t, row.user, fmt.Sprintf("c/x%d:1", n), o.image(t, n), nil)
		}
	}
	row.m = fstest.Mount(t, row.srv, fstest.Options{Timeout: faultTime, Poll: -1})
	row.m.Sh("mkdir -p c")
	return row
}

// image is the content for cell n: one of its own, so that none is sent by copying another.
func (o operation) image(t *testing.T, n int) []byte {
	t.Helper()
	return sif(t, max(o.size, 300_000)+int64(n), uint64(n))
}

// run carries out one cell, and returns what the system call gave: "ok" or the name of an errno.
func (row *faultRow) run(t *testing.T, n int, f fault, lasting bool) (outcome string) {
	t.Helper()
	c := &cell{faultRow: row, t: t, fault: f, name: fmt.Sprintf("c/x%d:1", n), content: row.image(t, n)}
	c.env = []string{"IMG=" + c.name + ".sif", fmt.Sprintf("NEW=c/y%d:1.sif", n), "SRC=" + local(t, "src.sif", c.content)}
	if row.before != nil {
		row.before(c)
	}
	rule := f.dress(row.on())
	if !lasting {
		rule.Times(1)
	}
	t.Cleanup(row.srv.ClearFaults)
	row.srv.Fault(rule)
	logged := len(row.m.Log())
	began := time.Now()
	out, code := row.m.Try(row.do, c.env...)
	took := time.Since(began)

	outcome = outcomeOf(out, code)
	want := row.expect(f, lasting)
	require.Equal(t, want, outcome, "%s\n%s", out, row.m.Log()[logged:])
	require.Less(t, took, faultLate, "it hangs")
	require.Positive(t, rule.Hits(), "the fault befell nobody")
	most := 16
	if f.final {
		most = max(row.requests, f.requests, 1)
	}
	require.LessOrEqual(t, rule.Hits(), most, "no storm of requests, and what is final is not asked again")
	if outcome != "ok" {
		c.requireOneLine(row.m.Log()[logged:], outcome)
		if row.during != nil {
			row.during(c)
		}
	}
	row.srv.ClearFaults()
	row.after(c, outcome == "ok")
	return outcome
}

// requireOneLine requires that the log says once what a person needs to know.
func (c *cell) requireOneLine(log, outcome string) {
	c.t.Helper()
	var lines []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, "level=warning") && !strings.Contains(line, "not in step with Drive") {
			lines = append(lines, line)
		}
		require.NotContains(c.t, line, "level=error", "EIO is for bugs")
	}
	if outcome == "ENOENT" || outcome == "ESTALE" { // ordinary, and not worth a line
		require.Empty(c.t, lines)
		return
	}
	require.Len(c.t, lines, 1, "%s", log)
	if c.fault.says != "" {
		require.Contains(c.t, lines[0], c.fault.says)
	}
}

// sh runs a command on the row's mount with the cell's variables. It must succeed.
func (c *cell) sh(command string) string {
	c.t.Helper()
	out, code := c.m.Try(command, c.env...)
	require.Zero(c.t, code, "%s\n%s", command, out)
	return strings.TrimSuffix(out, "\n")
}

// outcomes are the errnos a cell may end with.
var outcomes = []syscall.Errno{
	unix.EACCES, unix.EBADMSG, unix.EBUSY, unix.EDQUOT, unix.EINVAL, unix.EIO, unix.EKEYEXPIRED, unix.ENETUNREACH, unix.ENOENT,
	unix.ENOSPC, unix.EPROTO, unix.EREMOTEIO, unix.ESTALE, unix.ETIMEDOUT, unix.EEXIST, unix.EROFS, unix.ENODATA,
}

// outcomeOf reads what a command says of the errno it met.
func outcomeOf(out string, code int) string {
	if code == 0 {
		return "ok"
	}
	for _, errno := range outcomes {
		if strings.Contains(strings.ToLower(out), strings.ToLower(errno.Error())) {
			return unix.ErrnoName(errno)
		}
	}
	return "?"
}

// table collects the outcomes and prints them: a line for each fault, a column for each operation.
type table struct {
	mu    sync.Mutex
	cells map[string]map[string]string // guarded by mu: by fault and operation
	n     int                          // guarded by mu
}

func (tab *table) set(fault, op, outcome string) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	if tab.cells[fault] == nil {
		tab.cells[fault] = map[string]string{}
	}
	tab.cells[fault][op] = outcome
	tab.n++
}

func (tab *table) print(t *testing.T, title string, faults []string) {
	t.Helper()
	var b strings.Builder
	line := func(first string, column func(op string) string) {
		fmt.Fprintf(&b, "%-32s", first)
		for _, o := range operations {
			fmt.Fprintf(&b, " %-12s", column(o.name))
		}
		b.WriteString("\n")
	}
	line(title, func(op string) string { return op })
	for _, f := range faults {
		if row := tab.cells[f]; row != nil {
			line(f, func(op string) string { return row[op] })
		}
	}
	t.Logf("%d cells\n%s", tab.n, b.String())
}
