package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sregfs/drive"
	sregfs "sregfs/fs"
	"sregfs/index"
)

// mountFlags are the choices of one mount.
type mountFlags struct {
	foreground bool
	options    []string
	push, rm   string
	profile    string
	complete   string
	cacheSize  string
	minFree    string
	index      index.Options
	fs         sregfs.Options
	uid, gid   int
	umask      string
	logFile    string
}

func (a *app) mountCommand() *cobra.Command {
	var m mountFlags
	c := &cobra.Command{
		Use:   "mount DIR",
		Short: "Mount the registry",
		Long: `Mount the registry at DIR, an empty directory, and return when it answers.

The mount goes on in the background until 'sregfs umount DIR'. With -f it stays
in the foreground, and ^C unmounts. Every long option is also an -o option:
-o allow_other,read_only,push=background.`,
		Example: "  sregfs mount ~/reg\n  sregfs mount -f -o allow_other --cache-size 100GB /mnt/registry",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := applyMountOptions(cmd.Flags(), m.options); err != nil {
				return err
			}
			if err := a.set.check(); err != nil {
				return err
			}
			if err := m.finish(); err != nil {
				return err
			}
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if m.foreground || inBackground() {
				return a.serveMount(cmd.Context(), dir, m)
			}
			if err := a.checkMount(cmd.Context(), dir); err != nil {
				return err
			}
			return a.startBackground(cmd.Context(), m.logFile)
		},
	}
	f := c.Flags()
	f.BoolVarP(&m.foreground, "foreground", "f", false, "stay in the foreground")
	f.StringSliceVarP(&m.options, "options", "o", nil, "mount options, comma separated")
	f.BoolVar(&m.fs.AllowOther, "allow-other", false, "let other users use the mount (needs user_allow_other in /etc/fuse.conf)")
	f.BoolVar(&m.fs.AllowRoot, "allow-root", false, "let root use the mount")
	f.BoolVar(&m.fs.DefaultPermissions, "default-permissions", false, "let the kernel check permission bits")
	f.BoolVar(&m.fs.AutoUnmount, "auto-unmount", false, "unmount if sregfs ends unexpectedly")
	f.BoolVarP(&m.index.ReadOnly, "read-only", "r", false, "change nothing in the registry")
	f.StringVar(&m.fs.FSName, "fsname", "", "name shown in the mount table")
	f.IntVar(&m.uid, "uid", -1, "owner of the files (default: who mounts)")
	f.IntVar(&m.gid, "gid", -1, "group of the files (default: who mounts)")
	f.StringVar(&m.umask, "umask", "", "permission bits to take away, octal")
	f.StringVar(&m.push, "push", "close", "when close(2) of a pushed file returns: close (Drive has it) or background (it is in the journal)")
	f.StringVar(&m.rm, "rm", "trash", "what rm does: trash, delete or deny")
	f.StringVar(&m.cacheSize, "cache-size", "", "size of the block cache (default 20 GiB, at most 80 % of the free disk)")
	f.StringVar(&m.minFree, "cache-min-free", "", "disk space the cache leaves free")
	f.StringVar(&m.complete, "complete", "idle", "when the rest of an image that is open is fetched: idle (while its first start leaves the line idle, and when no reader has waited for a minute) or never")
	f.StringVar(&m.profile, "profile", "on", "start-up profiles, which make cold starts fast: on, or off (none is recorded, used or published)")
	f.DurationVar(&m.index.Poll, "poll", 0, "how often Drive is asked for changes (default 10s)")
	f.StringVar(&m.logFile, "log-file", "", "log of a background mount (default STATE/log)")
	return c
}

// mountWords are option words of mount(8) and the FUSE library whose flag here
// has another name, or none.
var mountWords = map[string]string{
	"ro": "read-only", "rw": "", "defaults": "", "_netdev": "", "nofail": "", "noauto": "", "auto": "", "user": "", "users": "",
	"nosuid": "", "nodev": "", "noatime": "", "suid": "", "dev": "", "exec": "",
}

// applyMountOptions sets the flags that -o names.
func applyMountOptions(f *pflag.FlagSet, options []string) error {
	for _, o := range options {
		key, value, valued := strings.Cut(o, "=")
		if strings.HasPrefix(key, "x-") || key == "comment" || key == "" {
			continue
		}
		name, known := mountWords[key]
		if known && name == "" {
			continue
		}
		if !known {
			name = strings.ReplaceAll(key, "_", "-")
		}
		flag := f.Lookup(name)
		if flag == nil || name == "options" {
			return usagef("unknown mount option %q", key)
		}
		if !valued {
			value = flag.NoOptDefVal
			if value == "" {
				return usagef("mount option %s needs a value: -o %s=…", key, key)
			}
		}
		if err := f.Set(name, value); err != nil {
			return usagef("mount option %s: %v", o, err)
		}
	}
	return nil
}

// finish checks the choices and turns their text into values.
func (m *mountFlags) finish() error {
	switch m.push {
	case "close":
	case "background":
		m.index.Background = true
	default:
		return usagef("--push is close or background, not %q", m.push)
	}
	switch m.index.Remove = index.Removal(m.rm); m.index.Remove {
	case index.RemoveTrash, index.RemoveDelete, index.RemoveDeny:
	default:
		return usagef("--rm is trash, delete or deny, not %q", m.rm)
	}
	switch m.profile {
	case "on":
	case "off":
		m.index.NoProfiles = true
	default:
		return usagef("--profile is on or off, not %q", m.profile)
	}
	var err error
	if m.index.Complete, err = index.ParseCompletion(m.complete); err != nil {
		return usagef("--complete is idle or never, not %q", m.complete)
	}
	if m.index.CacheSize, err = parseSize("cache-size", m.cacheSize); err != nil {
		return err
	}
	if m.index.CacheMinFree, err = parseSize("cache-min-free", m.minFree); err != nil {
		return err
	}
	m.fs.ReadOnly = m.index.ReadOnly
	if err := m.fs.SetOwner(m.uid, m.gid, m.umask); err != nil {
		return usageError{err}
	}
	return nil
}

// checkMount finds what would make the mount fail, before anything is started.
func (a *app) checkMount(ctx context.Context, dir string) error {
	if holder, held := index.Holder(a.set.State); held {
		return &holder
	}
	if err := sregfs.CheckMountPoint(ctx, dir, a.set.State); err != nil {
		return err
	}
	if err := index.Private(a.set.State); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if _, err := a.auth(); err != nil && !errors.Is(err, drive.ErrNoCredentials) {
		return err
	}
	return nil // without credentials, what is known can still be shown, if anything is
}

// serveMount mounts and stays until the mount is gone.
func (a *app) serveMount(ctx context.Context, dir string, m mountFlags) (err error) {
	ready := backgroundReply()
	defer func() { ready(err) }()
	if err := a.checkMount(ctx, dir); err != nil {
		return err
	}
	// A mount lives for weeks and allocates little: to collect twice as often
	// costs it nearly nothing, and with 100,000 images it takes a sixth less.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	// The FUSE library says its last words in the standard log.
	words := a.log.WriterLevel(logrus.WarnLevel)
	defer words.Close()
	log.SetFlags(0)
	log.SetOutput(words)
	m.index.Mount, m.fs.Log = dir, a.log
	ix, closeIndex, err := a.openIndex(ctx, m.index)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeIndex()) }()
	mnt, err := sregfs.Mount(ctx, dir, ix, m.fs)
	if err != nil {
		return err
	}
	ready(nil)
	return a.untilUnmounted(ctx, mnt, ix)
}

// untilUnmounted waits for the end of the mount: by umount, or by our own
// hand at SIGTERM or SIGINT. SIGHUP asks Drive for changes.
func (a *app) untilUnmounted(ctx context.Context, mnt *sregfs.Mounted, ix *index.Index) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	done := make(chan error, 1)
	go func() { done <- mnt.Wait() }()
	for {
		select {
		case err := <-done:
			return err
		case <-hup:
			if err := ix.Refresh(ctx); err != nil {
				a.log.Warn(index.Sentence(err))
			}
		case <-ctx.Done():
			// The caller's context is over; unmounting must not be.
			if err := mnt.Unmount(context.WithoutCancel(ctx)); err != nil {
				return fmt.Errorf("unmount: %w", err)
			}
			return <-done
		}
	}
}
