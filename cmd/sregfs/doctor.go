package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	sregfs "sregfs/fs"
	"sregfs/index"
)

// finding is the outcome of one check.
type finding struct {
	Check   string `json:"check"`
	OK      bool   `json:"ok"`
	Message string `json:"message"`
	Next    string `json:"next,omitempty"` // the one thing to do, where it is not ok
}

// checks are what doctor looks at, in the order in which one needs them.
var checks = []struct {
	name string
	look func(*app, context.Context) (message, next string) // a next means that it is not ok
}{
	{"fuse", (*app).checkFUSE},
	{"fusermount3", (*app).checkHelper},
	{"allow_other", (*app).checkAllowOther},
	{"state", (*app).checkState},
	{"cache", (*app).checkCache},
	{"mounts", (*app).checkMounts},
	{"token file", (*app).checkToken}, // before any use of it mends its mode
	{"credentials", (*app).checkCredentials},
	{"sign-in", (*app).checkSignIn},
	{"drive", (*app).checkDrive},
	{"clock", (*app).checkClock},
	{"container runtime", (*app).checkRuntime},
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check what sregfs needs, and say what to do next",
		Long: `Check what sregfs needs: FUSE and its helper, the state and cache directories,
mounts that no process serves any more, credentials, the sign-in, Drive, the
clock. For each that is not in order, say the one thing to do next. The exit code
is 1 if there is any.`,
		Example: "  sregfs doctor\n  sregfs doctor --json | jq '.[] | select(.ok | not)'",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings := make([]finding, 0, len(checks))
			bad := 0
			for _, c := range checks {
				message, next := c.look(a, cmd.Context())
				if err := cmd.Context().Err(); err != nil {
					return err
				}
				f := finding{c.name, next == "", message, next}
				findings = append(findings, f)
				if !f.OK {
					bad++
				}
				if !a.set.JSON && (!a.set.Quiet || !f.OK) {
					a.printFinding(f)
				}
			}
			if a.set.JSON {
				if err := a.printJSON(findings, ""); err != nil {
					return err
				}
			}
			if bad > 0 {
				return fmt.Errorf("%d of %d checks found something to do", bad, len(checks))
			}
			return nil
		},
	}
}

func (a *app) printFinding(f finding) {
	word := "ok  "
	if !f.OK {
		word = "FAIL"
	}
	fmt.Fprintf(a.out, "%s  %-17s  %s\n", word, f.Check, printable(f.Message))
	if !f.OK {
		fmt.Fprintf(a.out, "%25s%s\n", "-> ", printable(f.Next))
	}
}

func (a *app) checkFUSE(context.Context) (message, next string) {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err.Error(), "load the module with 'modprobe fuse', or start this container with --device /dev/fuse"
	}
	defer f.Close()
	return "/dev/fuse can be opened", ""
}

func (a *app) checkHelper(context.Context) (message, next string) {
	path, err := exec.LookPath("fusermount3")
	if err != nil {
		return "fusermount3 is not installed", "install the package fuse3"
	}
	return path, ""
}

func (a *app) checkAllowOther(context.Context) (message, next string) {
	conf, _ := os.ReadFile("/etc/fuse.conf") // absent: the option is off
	for line := range strings.Lines(string(conf)) {
		if strings.TrimSpace(line) == "user_allow_other" {
			return "other users may be let in with -o allow_other", ""
		}
	}
	if os.Getuid() == 0 {
		return "root may let others in", ""
	}
	return "not allowed to plain users; needed only to let others in (user_allow_other in /etc/fuse.conf)", ""
}

func (a *app) checkState(context.Context) (message, next string) {
	dir := a.set.State
	if err := writableDir(dir); err != nil {
		return err.Error(), "make it writable, or choose another with SREGFS_STATE_DIR"
	}
	var st unix.Statfs_t
	if err := unix.Statfs(existing(dir), &st); err != nil {
		return err.Error(), "choose another place with SREGFS_STATE_DIR"
	}
	if st.Type == unix.NFS_SUPER_MAGIC {
		return dir + " is on NFS", "choose a local disk with SREGFS_STATE_DIR"
	}
	if free := int64(st.Bavail) * st.Bsize; free < fewStateBytes {
		return fmt.Sprintf("%s has %s free", dir, size(free)), "free some room, or choose another disk with SREGFS_STATE_DIR"
	}
	if holder, held := index.Holder(dir); held {
		if holder.Mount != "" {
			return fmt.Sprintf("%s, in use by the mount at %s", dir, holder.Mount), ""
		}
		return fmt.Sprintf("%s, in use by process %d", dir, holder.PID), ""
	}
	return dir, ""
}

// fewStateBytes is how little free disk keeps the state directory from being written, in bytes: records, tokens and the
// journal are small.
const fewStateBytes = 64 << 20

// fewBytes is how little free disk is worth a word: a few images' worth.
const fewBytes = 2 << 30

func (a *app) checkCache(context.Context) (message, next string) {
	dir := a.set.Cache
	if dir == "" {
		dir = filepath.Join(a.set.State, "blocks")
	}
	if err := writableDir(dir); err != nil {
		return err.Error(), "make it writable, or choose another with SREGFS_CACHE_DIR"
	}
	var st unix.Statfs_t
	if err := unix.Statfs(existing(dir), &st); err != nil {
		return err.Error(), "choose another place with SREGFS_CACHE_DIR"
	}
	free := int64(st.Bavail) * st.Bsize
	if free < fewBytes {
		return fmt.Sprintf("%s has %s free", dir, size(free)), "free some room, or choose another disk with SREGFS_CACHE_DIR"
	}
	return fmt.Sprintf("%s, %s free", dir, size(free)), ""
}

// existing is dir, or the nearest directory above it that there is.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// writableDir says whether dir, which may have to be made, can be written to.
func writableDir(dir string) error {
	at := existing(dir)
	fi, err := os.Stat(at)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s is no directory", at)
	}
	if err := unix.Access(at, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("%s cannot be written to: %w", at, err)
	}
	return nil
}

func (a *app) checkMounts(ctx context.Context) (message, next string) {
	mounts, err := sregfs.Mounts()
	if err != nil {
		return err.Error(), "see that /proc is mounted"
	}
	if len(mounts) == 0 {
		return "nothing is mounted", ""
	}
	var good []string
	for _, m := range mounts {
		_, err := readStatus(ctx, m.Dir)
		if errors.Is(err, iofs.ErrPermission) {
			good = append(good, m.Dir+" (of another user)")
			continue
		}
		if now, e := mountPoints(); err != nil && e == nil && !slices.Contains(now, m.Dir) {
			continue // unmounted since we looked
		}
		if err != nil {
			return m.Dir + " does not answer: " + err.Error(), "sregfs umount --lazy " + m.Dir
		}
		good = append(good, m.Dir)
	}
	return strings.Join(good, ", "), ""
}

// clockOff is how wrong a clock may be before signed tokens are refused.
const clockOff = 2 * time.Minute

func (a *app) checkClock(ctx context.Context) (message, next string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, a.set.URL, http.NoBody)
	if err != nil {
		return err.Error(), "see --drive-url"
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "cannot be compared: Drive does not answer", "see above"
	}
	defer resp.Body.Close()
	theirs, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return "Drive tells no time", ""
	}
	if off := time.Since(theirs).Round(time.Second); off > clockOff || off < -clockOff {
		return fmt.Sprintf("differs from Drive's by %s", off), "set the clock, with NTP if you can"
	}
	return "agrees with Drive's", ""
}

func (a *app) checkRuntime(context.Context) (message, next string) {
	for _, name := range []string{"apptainer", "singularity"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, ""
		}
	}
	return "neither apptainer nor singularity is in PATH; needed only to run images here", ""
}
