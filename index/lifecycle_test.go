package index_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/indextest"
)

// holdDir, when set in the environment, makes this test binary a process that opens the state there and waits to be
// killed.
const holdDir = "INDEX_TEST_HOLD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdDir); dir != "" {
		ix, err := index.Open(context.Background(), index.Options{Dir: dir, Mount: "/mnt/elsewhere"})
		if err != nil {
			panic(err)
		}
		if err := ix.Mkdir("held"); err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString("open\n")
		select {}
	}
	os.Exit(m.Run())
}

func TestStateHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	_, held := index.Holder(dir)
	require.False(t, held)
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), holdDir+"="+dir)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "open\n", line)

	h, held := index.Holder(dir)
	require.True(t, held)
	require.Equal(t, index.InUseError{PID: child.Process.Pid, Mount: "/mnt/elsewhere"}, h)
	_, err = index.Open(t.Context(), index.Options{Dir: dir})
	require.ErrorIs(t, err, index.ErrInUse)
	var inUse *index.InUseError
	require.ErrorAs(t, err, &inUse)
	require.Equal(t, h, *inUse)
	require.Contains(t, index.Sentence(err), "/mnt/elsewhere")

	require.NoError(t, child.Process.Kill())
	require.Error(t, child.Wait())
	_, held = index.Holder(dir)
	require.False(t, held, "what a killed owner left says nothing")
	ix, err := index.Open(t.Context(), index.Options{Dir: dir})
	require.NoError(t, err)
	h, held = index.Holder(dir)
	require.True(t, held)
	require.Equal(t, os.Getpid(), h.PID)
	require.Equal(t, []string{"held"}, collection(t, ix, "", "").Collections, "what was acknowledged before the kill is there")
	require.NoError(t, ix.Close())
	require.NoError(t, ix.Close(), "closing twice is closing once")
	_, held = index.Holder(dir)
	require.False(t, held)
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	ix, err := index.Open(t.Context(), index.Options{Dir: dir})
	require.NoError(t, err)
	require.NoError(t, ix.Close())
	db, err := badger.Open(badger.DefaultOptions(filepath.Join(dir, "index")).WithLogger(nil))
	require.NoError(t, err)
	require.NoError(t, db.Update(func(txn *badger.Txn) error { return txn.Set([]byte("mschema"), []byte("99")) }))
	require.NoError(t, db.Close())
	_, err = index.Open(t.Context(), index.Options{Dir: dir})
	require.ErrorIs(t, err, index.ErrSchema)
	_, held := index.Holder(dir)
	require.False(t, held, "a failed open leaves nothing locked")
}

func TestDamagedRecordsAreListedAgain(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	f := indextest.Put(t, srv.User(""), "c/i:t", []byte("1"), nil)
	dir := t.TempDir()
	require.NoError(t, indextest.Open(t, srv, index.Options{Dir: dir}).Close())
	for _, key := range []string{"f" + f.ID, "mroot", "mabout", "mlisted"} {
		db, err := badger.Open(badger.DefaultOptions(filepath.Join(dir, "index")).WithLogger(nil))
		require.NoError(t, err)
		require.NoError(t, db.Update(func(txn *badger.Txn) error { return txn.Set([]byte(key), []byte("{damaged")) }))
		require.NoError(t, db.Close())
		ix := indextest.Open(t, srv, index.Options{Dir: dir})
		require.Equal(t, f.ID, byName(t, ix, "c/i:t").File, key)
		require.NoError(t, ix.Close())
	}
}

func TestOpenRefusesNonsense(t *testing.T) {
	_, err := index.Open(t.Context(), index.Options{})
	require.Error(t, err)
	_, err = index.Open(t.Context(), index.Options{Dir: t.TempDir(), Remove: "shred"})
	require.ErrorContains(t, err, "shred")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = index.Open(t.Context(), index.Options{Dir: file})
	require.Error(t, err)
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	c := indextest.Client(t, srv, srv.User(""))
	open := func() {
		ix := indextest.Open(t, srv, index.Options{Drive: c})
		require.NoError(t, ix.Close())
	}
	open() // whatever libraries start once
	c.Close()
	before := runtime.NumGoroutine()
	open()
	c.Close()
	// Eventually asks from a goroutine of its own.
	if !assert.Eventually(t, func() bool { return runtime.NumGoroutine()-1 <= before }, 20*time.Second, 10*time.Millisecond) {
		stacks := make([]byte, 1<<20)
		t.Fatalf("%d goroutines before:\n%s", before, stacks[:runtime.Stack(stacks, true)])
	}
}

func TestEvents(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	ann := srv.User("")
	ix := indextest.Open(t, srv, index.Options{})
	var mu sync.Mutex
	seen := map[index.Event]bool{}
	cancel := ix.Subscribe(func(happened []index.Event) {
		_, _ = ix.Lookup("", ref(t, "c/i:t")) // a subscriber may ask
		mu.Lock()
		defer mu.Unlock()
		for _, e := range happened {
			seen[e] = true
		}
	})
	saw := func(e index.Event) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return seen[e]
		}
	}
	f := indextest.Put(t, ann, "c/i:t", []byte("1"), nil)
	old := index.Event{Collection: "c", Image: "i", Tag: "t", Version: f.MD5, Ext: ".sif"}
	indextest.Eventually(t, saw(old), "appeared")
	mu.Lock()
	clear(seen)
	mu.Unlock()
	img, err := ix.Retag(t.Context(), byName(t, ix, "c/i:t"), ref(t, "d/j:u"))
	require.NoError(t, err)
	require.True(t, saw(old)(), "the old name, before the verb returns")
	require.True(t, saw(index.Event{Collection: "d", Image: "j", Tag: "u", Version: f.MD5, Ext: ".sif"})(), "the new name")
	require.NoError(t, ix.Mkdir("made"))
	require.True(t, saw(index.Event{Collection: "made"})(), "a directory")
	cancel()
	mu.Lock()
	clear(seen)
	mu.Unlock()
	require.NoError(t, ix.Remove(t.Context(), img))
	indextest.Refresh(t, ix)
	mu.Lock()
	defer mu.Unlock()
	require.Empty(t, seen, "nothing after cancel")
}

func TestStatusAndQuota(t *testing.T) {
	srv := drivetest.NewServer(t, drivetest.Options{})
	srv.User("").SetQuota(1 << 30)
	indextest.Put(t, srv.User(""), "c/i:t", make([]byte, 1000), nil)
	dir, c := t.TempDir(), indextest.Client(t, srv, srv.User(""))
	ix := indextest.Open(t, srv, index.Options{Dir: dir, Drive: c, Mount: "/mnt/x"})
	s := ix.Status()
	require.Equal(t, index.Online, s.State)
	require.Equal(t, "ann@uni.edu", s.Account)
	require.Equal(t, "sregistry", s.Root)
	require.Equal(t, 1, s.Images)
	require.Equal(t, "/mnt/x", s.Mount)
	require.NotNil(t, s.Synced)
	b, err := json.Marshal(s)
	require.NoError(t, err)
	require.Contains(t, string(b), `"state":"online"`)

	srv.ResetRequests()
	q, err := ix.Quota(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(1<<30), q.Limit)
	require.GreaterOrEqual(t, q.Usage, int64(1000))
	for _, r := range srv.Requests() {
		require.NotEqual(t, "about.get", r.Op, "statfs is answered from a recent answer")
	}
	require.NoError(t, ix.Close())

	off, err := index.Open(t.Context(), index.Options{Dir: dir})
	require.NoError(t, err)
	q, err = off.Quota(t.Context())
	require.NoError(t, err, "the last one known will do")
	require.Equal(t, int64(1<<30), q.Limit)
	require.NoError(t, off.Close())
	off, err = index.Open(t.Context(), index.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	_, err = off.Quota(t.Context())
	require.Error(t, err)
	require.NoError(t, off.Close())
}

func TestEveryErrorHasASentence(t *testing.T) {
	for _, err := range index.Errors() {
		require.NotEmpty(t, index.Sentence(err))
		require.True(t, errors.Is(err, err))
	}
	require.Empty(t, index.Sentence(nil))
}
