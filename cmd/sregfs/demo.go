package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"sregfs/drive/drivetest"
)

// The demo's two people; the domain is the documentation's own.
const (
	demoOwner = "ann@uni.edu"
	demoGuest = "bob@uni.edu"
)

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show everything once, on a Drive embedded in this program",
		Long: `Start a Drive in this program, build a small image, push it, mount the registry,
list, read and run the image, push another by cp, share it, show what Drive
holds, and unmount. It needs no account, and leaves nothing behind.`,
		Example: "  sregfs demo",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			dir, err := os.MkdirTemp("", "sregfs-demo-")
			if err != nil {
				return err
			}
			d := &demo{dir: dir, out: a.out}
			defer func() { err = errors.Join(err, d.cleanUp(context.WithoutCancel(cmd.Context()))) }()
			return d.run(cmd.Context())
		},
	}
}

// demo is one run: a scratch directory, a Drive, and two accounts.
type demo struct {
	dir   string
	out   io.Writer
	drive *drivetest.Server
}

// A step is a line of talk, or commands that are shown and run.
type step struct {
	say  string
	user string // whose environment; "" is the owner
	sh   string
}

var demoSteps = []step{
	{say: "An image: a small root file system, packed as SIF"},
	{sh: `mkdir -p root/bin root/proc root/.singularity.d
cp "$(command -v busybox)" root/bin/busybox && ln -s busybox root/bin/sh
printf '#!/bin/sh\nbusybox echo "Tacotacotaco, from $(busybox uname -m)"\n' > root/.singularity.d/runscript
chmod +x root/.singularity.d/runscript
echo '{"maintainer": "ann", "org.label-schema.usage": "/.singularity.d/runscript.help"}' > root/.singularity.d/labels.json
mksquashfs root root.squashfs -all-root -noappend -quiet -no-progress >/dev/null
siftool new hello.sif && siftool add --datatype 4 --parttype 2 --partfs 1 --partarch 2 hello.sif root.squashfs
ls -l hello.sif`},
	{say: "Push it to Drive, as the command line does"},
	{sh: `sregfs push --quiet --name vsoch/hello-world:latest hello.sif`},
	{say: "Mount the registry"},
	{sh: `mkdir reg && sregfs mount reg`},
	{sh: `ls -l reg/ reg/vsoch/ reg/vsoch/hello-world:latest/`},
	{say: "The bytes that were pushed are the bytes that are read"},
	{sh: `sha256sum hello.sif reg/vsoch/hello-world:latest.sif`},
	{sh: `getfattr -d reg/vsoch/hello-world:latest.sif`},
	{say: "Run it from the mount"},
	{sh: demoRun},
	{say: "Push by cp: another image under another tag"},
	{sh: `echo 'a second file' > root/second
mksquashfs root second.squashfs -all-root -noappend -quiet -no-progress >/dev/null
siftool new second.sif && siftool add --datatype 4 --parttype 2 --partfs 1 --partarch 2 second.sif second.squashfs
cp second.sif reg/vsoch/hello-world:pancakes.sif
ls reg/vsoch/`},
	{say: "Share it by e-mail address"},
	{sh: `setfattr -n user.sregfs.share -v bob@uni.edu reg/vsoch/hello-world:pancakes.sif
getfattr --only-values -n user.sregfs.shared reg/vsoch/hello-world:pancakes.sif; echo`},
	{say: "What bob sees in a mount of his own"},
	{user: demoGuest, sh: `mkdir bob && sregfs mount bob && find bob/shared-with-me -name '*.sif' && sregfs umount bob`},
	{say: "What Drive holds now"},
	{sh: `sregfs search hello`},
	{say: "Unmount"},
	{sh: `sregfs umount reg`},
}

// demoRun starts the image with the container runtime of this machine. Where
// there is none it does by hand what one does: mount the image's squashfs, and
// start the runscript in it.
const demoRun = `img=reg/vsoch/hello-world:latest.sif
if command -v apptainer >/dev/null; then apptainer run $img
elif command -v singularity >/dev/null; then singularity run $img
else
  offset=$(siftool list $img | sed -n 's/.*|\([0-9]*\)-[0-9]* *|FS (Squashfs.*/\1/p')
  mkdir inside && squashfuse -o offset=$offset $img inside
  unshare --map-root-user chroot inside /.singularity.d/runscript; code=$?
  fusermount3 -u inside; exit $code
fi`

func (d *demo) run(ctx context.Context) error {
	srv, err := drivetest.Open(drivetest.Options{Dir: filepath.Join(d.dir, "drive"), Users: []string{demoOwner, demoGuest}})
	if err != nil {
		return err
	}
	d.drive = srv
	if err := srv.Listen("127.0.0.1:0"); err != nil {
		return err
	}
	for _, user := range []string{demoOwner, demoGuest} {
		if err := srv.User(user).WriteCredentials(filepath.Join(d.dir, user)); err != nil {
			return err
		}
	}
	fmt.Fprintf(d.out, "# A Drive of our own, for %s and %s, listening on %s\n", demoOwner, demoGuest, srv.URL())
	for _, s := range demoSteps {
		if s.say != "" {
			fmt.Fprintf(d.out, "\n# %s\n", s.say)
			continue
		}
		if err := d.sh(ctx, s.user, s.sh); err != nil {
			return err
		}
	}
	fmt.Fprintln(d.out, "\n# The same from Drive's side: each file of the registry")
	for _, f := range srv.User(demoOwner).Files() {
		if f.Properties["type"] == "container" {
			fmt.Fprintf(d.out, "%s  %8d bytes  sha256 %.12s…  shared with %d\n", f.Name, f.Size, f.SHA256, len(f.Permissions)-1)
		}
	}
	fmt.Fprintln(d.out, "\n# Done. README.md says how to do the same with your Drive.")
	return nil
}

// sh shows a command and runs it in the scratch directory, as the given user
// of the Drive.
func (d *demo) sh(ctx context.Context, user, script string) error {
	for line := range strings.Lines(script) {
		fmt.Fprint(d.out, "$ ", line)
	}
	fmt.Fprintln(d.out)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "bash", "-e", "-o", "pipefail", "-c", `source "$1/env"; eval "$2"`, "demo", filepath.Join(d.dir, cmp.Or(user, demoOwner)), script)
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.dir, d.out, d.out
	// The demo's own Drive must not be mixed up with settings of the caller.
	cmd.Env = append(withoutSettings(os.Environ()), "PATH="+filepath.Dir(self)+":"+os.Getenv("PATH"))
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("demo: the command above failed: %w", err)
	}
	return nil
}

func withoutSettings(env []string) []string {
	var kept []string
	for _, kv := range env {
		if !strings.HasPrefix(kv, "SREGFS_") && !strings.HasPrefix(kv, "SREGISTRY_") {
			kept = append(kept, kv)
		}
	}
	return kept
}

// cleanUp unmounts what a failed step left mounted, stops the Drive and
// removes the scratch directory.
func (d *demo) cleanUp(ctx context.Context) error {
	var errs []error
	for _, name := range []string{"inside", "reg", "bob"} {
		dir := filepath.Join(d.dir, name)
		if mounted, err := isMountPoint(dir); err == nil && mounted {
			errs = append(errs, exec.CommandContext(ctx, "fusermount3", "-u", "-z", dir).Run())
		}
	}
	if d.drive != nil {
		errs = append(errs, d.drive.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(d.dir))...)
}

// isMountPoint says whether something is mounted at dir.
func isMountPoint(dir string) (bool, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == dir {
			return true, nil
		}
	}
	return false, nil
}
