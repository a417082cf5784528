package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// A mount goes to the background by starting this program again in a session
// of its own, with a pipe on which the child says how the mount went.
const (
	readyVariable = "SREGFS_READY_FD"
	readyFD       = 3
)

// readiness is what the child says, one JSON line.
type readiness struct {
	Error string `json:"error,omitempty"` // a sentence; empty when mounted
	Code  int    `json:"code,omitempty"`
}

func inBackground() bool { return os.Getenv(readyVariable) != "" }

// startBackground starts the child and waits until the mount answers or failed.
func (a *app) startBackground(ctx context.Context, logFile string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if logFile == "" {
		logFile = filepath.Join(a.set.State, "log")
	}
	if err := os.MkdirAll(filepath.Dir(logFile), 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	// The child outlives this command: its life must not hang on our context.
	child := exec.CommandContext(context.WithoutCancel(ctx), self, os.Args[1:]...)
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%d", readyVariable, readyFD))
	child.Stdout, child.Stderr = log, log
	child.ExtraFiles = []*os.File{w}
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = child.Start()
	w.Close()
	if err != nil {
		return err
	}
	// ^C while we wait goes to the child as well, which cleans up and says so.
	stop := context.AfterFunc(ctx, func() { _ = child.Process.Signal(syscall.SIGTERM) })
	defer stop()
	line, err := bufio.NewReader(r).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var answer readiness
	if json.Unmarshal(line, &answer) != nil {
		return fmt.Errorf("the mount ended before it answered; see %s", logFile)
	}
	if answer.Error != "" {
		_ = child.Wait()
		return &codedError{text: answer.Error, code: answer.Code}
	}
	return child.Process.Release()
}

// backgroundReply gives the function by which the child answers its parent,
// once. In the foreground it does nothing.
func backgroundReply() func(error) {
	if !inBackground() {
		return func(error) {}
	}
	syscall.CloseOnExec(readyFD) // fusermount3 must not keep our parent waiting
	pipe := os.NewFile(readyFD, "ready")
	var once sync.Once
	return func(err error) {
		once.Do(func() {
			var answer readiness
			if err != nil {
				answer = readiness{Error: sentence(err), Code: exitCode(err)}
			}
			_ = json.NewEncoder(pipe).Encode(answer)
			_ = pipe.Close()
		})
	}
}
