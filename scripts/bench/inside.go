package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// userID is the ordinary user that scripts/apptainer-root makes.
const userID = 1000

// A session is a shell inside the Apptainer root that runs one command after another, so that a start is timed without
// the entering. What is mounted below the bench's directory shows in it.
type session struct {
	stdin io.Writer
	said  *bufio.Reader
	log   string // what the commands say
	exec  string // apptainer exec, with what this user needs
}

// session opens a shell for root, whose containers are loop mounts, or for the ordinary user, who gets squashfuse_ll.
func (b *bench) session(driver string) (*session, error) {
	root, err := filepath.Abs(b.o.images)
	if err != nil {
		return nil, err
	}
	s := &session{log: b.path("said-" + driver), exec: "apptainer --quiet exec --no-privs"}
	args := []string{"--root", root, "--bind", b.dir, "--chdir", b.dir}
	if driver == "squashfuse_ll" {
		args = append(args, "--user", strconv.Itoa(userID))
		s.exec = "apptainer --quiet exec"
	}
	if err := os.WriteFile(s.log, nil, 0o666); err != nil {
		return nil, err
	}
	if err := os.Chmod(s.log, 0o666); err != nil { // whatever the umask
		return nil, err
	}
	script := filepath.Join("scripts", "in-apptainer-root")
	cmd := b.command(script, append(args, "--", "sh")...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	s.stdin = stdin
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.said = bufio.NewReader(stdout)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b.after = append(b.after, func() error {
		_ = stdin.Close()
		_ = cmd.Wait() // killed, when interrupted
		return nil
	})
	return s, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// run runs a command in a container of the image and returns how long that took.
func (s *session) run(image, command string) (time.Duration, error) {
	begin := time.Now()
	if _, err := fmt.Fprintf(s.stdin, "%s %s %s </dev/null >%s 2>&1; echo $?\n", s.exec, image, command, s.log); err != nil {
		return 0, err
	}
	line, err := s.said.ReadString('\n')
	took := time.Since(begin)
	if err == nil && strings.TrimSpace(line) != "0" {
		err = fmt.Errorf("exit code %s", strings.TrimSpace(line))
	}
	if err != nil {
		text, _ := os.ReadFile(s.log)
		return 0, fmt.Errorf("%s %s %s: %w\n%s", s.exec, image, command, err, text)
	}
	return took, nil
}
