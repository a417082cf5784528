package fstest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"sregfs/drive"
	"sregfs/fs"
	"sregfs/index"
)

// childVariable holds the config of the process that mounts.
const childVariable = "SREGFS_FSTEST_CHILD"

// config is what the process that mounts needs to know.
type config struct {
	Dir         string
	Credentials string
	URL         string
	Log         string
	Options     Options
}

// Main runs the tests of a package, or, in the process that Mount starts, the mount.
func Main(m *testing.M) {
	text := os.Getenv(childVariable)
	if text == "" {
		// Else the race detector lets each mount sleep a second before it exits.
		if err := os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")); err != nil {
			panic(err)
		}
		os.Exit(m.Run())
	}
	var c config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		answer(err)
		os.Exit(1)
	}
	if err := c.run(); err != nil {
		answer(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// answer says on standard output how it went, one line: "ok" or the sentence.
func answer(err error) {
	text := "ok"
	if err != nil {
		text = index.Sentence(err)
	}
	b, _ := json.Marshal(text) // a string
	fmt.Println(string(b))
}

// run mounts, answers, and unmounts when standard input ends or the mount does.
func (c config) run() (err error) {
	logFile, err := os.OpenFile(c.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	log.SetOutput(logFile) // the FUSE library reports panics there
	logger := logrus.New()
	logger.SetOutput(logFile)
	logger.SetLevel(logrus.DebugLevel)

	auth, err := drive.OpenAuth(drive.AuthOptions{
		Credentials: filepath.Join(c.Credentials, "client_secrets.json"), Token: filepath.Join(c.Credentials, "token.json"), Save: true, Log: logger,
	})
	if err != nil {
		return err
	}
	client, err := drive.New(drive.Options{URL: c.URL, Auth: auth, Timeout: c.Options.Timeout, Chunk: 16 << 20, Log: logger})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx := context.Background()
	o := c.Options
	ix, err := index.Open(ctx, index.Options{
		Dir: o.State, Drive: client, ReadOnly: o.ReadOnly, Remove: o.Remove, Background: o.Background, CacheSize: o.CacheSize,
		Poll: o.Poll, Mount: c.Dir, Log: logger,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ix.Close()) }()
	m, err := fs.Mount(ctx, c.Dir, ix, fs.Options{
		AllowOther: o.AllowOther, AllowRoot: o.AllowRoot, ReadOnly: o.ReadOnly, AutoUnmount: o.AutoUnmount, UID: o.UID, Log: logger,
	})
	if err != nil {
		return err
	}
	answer(nil)
	told := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, bufio.NewReader(os.Stdin)) // ends with the test process at the latest
		close(told)
	}()
	ended := make(chan error, 1)
	go func() { ended <- m.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-told:
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return errors.Join(m.Unmount(ctx), <-ended)
}
