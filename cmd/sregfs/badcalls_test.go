package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// A call that cannot be meant is one line that says how to call it, and nothing is done: nobody is asked for a thing.
func TestBadCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	w.file("i.sif", imagetest.SIF(t, 200_000))
	before := ann.sh("find . | sort").ok(t)
	for _, test := range []struct {
		args  string // _ is an empty argument
		texts []string
	}{
		{"pul", []string{`unknown command "pul"`, "did you mean", "pull", "sregfs --help"}},
		{"frobnicate", []string{"frobnicate", "sregfs --help"}},
		{"cache", []string{"clear, ls, verify"}},
		{"cache frob", []string{"frob", "sregfs cache --help"}},
		{"config", []string{"path, set, show"}},
		{"config sho", []string{"sho", "show"}},
		{"completion tcsh", []string{"tcsh", "zsh"}},
		{"help frob", []string{"frob"}},
		{"help cache frob", []string{"frob", "sregfs cache --help"}},
		{"version x", []string{"takes no arguments", `"x"`}},
		{"login x", []string{"takes no arguments", `"x"`}},
		{"mount", []string{"lacks an argument", "sregfs mount DIR"}},
		{"mount _", []string{"empty", "sregfs mount DIR"}},
		{"mount a b", []string{`"b"`, "sregfs mount DIR"}},
		{"mount --umask 999 .", []string{"umask", "999"}},
		{"mount --uid abc .", []string{"--uid", "abc"}},
		{"mount --cache-size 0 .", []string{"--cache-size"}},
		{"mount --profile maybe .", []string{"--profile"}},
		{"mount -o frob .", []string{"frob"}},
		{"umount", []string{"sregfs umount DIR"}},
		{"umount _", []string{"empty"}},
		{"status _", []string{"empty"}},
		{"shell _", []string{"empty"}},
		{"push i.sif j.sif --name a/b", []string{`"j.sif"`}},
		{"push --name a/b", []string{"lacks an argument", "--name URI FILE"}},
		{"push --name _ i.sif", []string{"--name"}},
		{"push --name a/b _", []string{"empty"}},
		{"push --name a/b --tag x:y i.sif", []string{"x:y"}},
		{"add _", []string{"empty"}},
		{"pull --name _ a/b", []string{"--name"}},
		{"pull --name x --no-cache a/b", []string{"--no-cache"}},
		{"mv a/b _", []string{"empty"}},
		{"mv a/b", []string{"IMAGE PATH"}},
		{"rename a/b _", []string{"empty"}},
		{"rename a/b", []string{"IMAGE NEWNAME"}},
		{"share --email _ a/b", []string{"--email"}},
		{"share --email ann@uni.edu", []string{"lacks an argument"}},
		{"share rm a/b", []string{"--email"}},
		{"share ls", []string{"share ls IMAGE"}},
		{"labels --set a=b -k a c/d", []string{"--set", "-k"}},
		{"labels --set a=b --unset a c/d", []string{"--unset"}},
		{"config set frob x", []string{"frob", "config show"}},
		{"--root _ search", []string{"--root"}},
		{"--root / search", []string{"--root"}},
		{"--timeout abc search", []string{"--timeout", "abc"}},
		{"--bwlimit x search", []string{"--bwlimit"}},
		{"search --progress", []string{"--progress"}},
		{"search -x", []string{"-x"}},
	} {
		var args []string
		for _, arg := range strings.Fields(test.args) {
			args = append(args, strings.TrimSuffix(arg, "_"))
		}
		t.Run(test.args, func(t *testing.T) {
			r := ann.sregfs(args...)
			oneLine(t, r, exitUsage, test.texts...)
			require.Empty(t, r.out)
		})
	}
	var said struct {
		Type string
		Code int
	}
	for _, args := range []string{"frobnicate", "cache", "search -x"} {
		r := ann.sregfs(append([]string{"--json"}, strings.Fields(args)...)...)
		require.NoError(t, json.Unmarshal([]byte(r.err), &said), r.err)
		require.Equal(t, exitUsage, said.Code)
		require.Equal(t, "exit_error", said.Type)
	}
	require.Empty(t, w.srv.Requests())
	require.Equal(t, before, ann.sh("find . | sort").ok(t))
}

// An address that is none names nobody else, whatever it holds; a mount reads what it is told as words.
func TestShareWithNobody(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"without a mount", "with a mount"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ann := w.as("ann@uni.edu")
			for i, name := range []string{"lab/one:1", "lab/two:1"} {
				indextest.Put(t, w.srv.User("ann@uni.edu"), name, imagetest.SIF(t, 100_000, imagetest.Seed(uint64(i))), nil)
			}
			if mode == "with a mount" {
				ann.mount()
			}
			for _, email := range []string{"bob", "@", "bob@", "Bob <bob@uni.edu>", "bob@uni.edu,eve@uni.edu", "bob@uni.edu lab/two:1", "bob@uni.edu\tlab/two:1", "bob@uni.edu\nbob@uni.edu lab/two:1"} {
				oneLine(t, ann.sregfs("-q", "share", "--email", email, "lab/one:1"), exitError, "e-mail address")
			}
			oneLine(t, ann.sregfs("-q", "share", "--role", "reader notify=no", "--email", "bob@uni.edu", "lab/one:1"), exitError, "role")
			for _, name := range []string{"lab/one:1", "lab/two:1"} {
				require.NotContains(t, ann.sregfs("share", "ls", name).ok(t), "bob")
			}
			require.Contains(t, ann.sregfs("share", "--email", " bob@uni.edu ", "lab/one:1").ok(t), "Share to bob@uni.edu complete: ")
			oneLine(t, ann.sregfs("-q", "share", "rm", "--email", "eve@uni.edu", "lab/one:1"), exitNotFound, "eve@uni.edu")
		})
	}
}

// Who reads no more of the results ends the verb, quietly, as with other tools; results that get lost are said.
func TestResultsNobodyGets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	indextest.Put(t, w.srv.User("ann@uni.edu"), "lab/a:1", imagetest.SIF(t, 200_000), nil)
	ann.sregfs("search").ok(t)
	self, err := os.Executable()
	require.NoError(t, err)
	to := func(t *testing.T, out *os.File, args string) result {
		t.Helper()
		var errOut bytes.Buffer
		cmd := exec.CommandContext(t.Context(), self, strings.Fields(args)...)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = w.dir, ann.env(), out, &errOut
		_ = cmd.Run() // what became of it is looked at
		code := cmd.ProcessState.ExitCode()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			code = 128 + int(status.Signal())
		}
		return result{err: errOut.String(), code: code}
	}
	for _, args := range []string{"search", "search --json", "-q search lab", "inspect --json lab/a:1", "images --all", "labels", "get lab/a:1", "config show", "fsck --offline",
		"doctor", "cache ls", "--help", "help pull", "version", "completion bash", "pull --name got.sif --force lab/a:1", "-q pull --name got.sif --force lab/a:1"} {
		t.Run(args, func(t *testing.T) {
			closed, out, err := os.Pipe()
			require.NoError(t, err)
			require.NoError(t, closed.Close())
			defer out.Close()
			require.Equal(t, result{code: 128 + int(syscall.SIGPIPE)}, to(t, out, args))

			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			require.NoError(t, err)
			defer full.Close()
			r := to(t, full, args)
			require.Equal(t, exitError, r.code, r.err)
			require.Equal(t, 1, strings.Count(r.err, "\n"), r.err)
			require.Contains(t, r.err, "the results could not be written: write /dev/stdout: no space left on device")
		})
	}
	require.Equal(t, "./got.sif\n", ann.sh("find . -name 'got*' -o -name '*.part'").ok(t), "it is there, whole; nothing half written is")
	want := imagetest.SIF(t, 200_000)
	got, err := os.ReadFile(w.path("got.sif"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
}

// umount takes away no mount of anybody else's, not even with --lazy.
func TestUmountOfAnotherFileSystem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := disk(t, "tmpfs", "tmpfs")
	require.NoError(t, os.Symlink(dir, w.path("link")))
	for _, args := range [][]string{{dir}, {"--lazy", dir}, {"--no-wait", dir + "/"}, {"link/../link/."}} {
		oneLine(t, w.as("ann@uni.edu").sregfs(append([]string{"umount"}, args...)...), exitError, "no")
		mounted, err := isMountPoint(dir)
		require.NoError(t, err)
		require.True(t, mounted, args)
	}
	oneLine(t, w.as("ann@uni.edu").sregfs("status", dir), exitNotFound, dir)
}

// A plain user gets one line about each file and directory that is not theirs.
func TestPlainUserAndFilesOfOthers(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("to be another user needs root")
	}
	w := newWorld(t)
	user := w.srv.User("ann@uni.edu")
	sif := imagetest.SIF(t, 200_000)
	indextest.Put(t, user, "lab/a:1", sif, nil)
	w.file("mine.sif", sif)
	w.file("secret", sif)
	theirs := w.path("theirs")
	ann := w.as("ann@uni.edu")
	ann.sh(`chmod 600 secret; mkdir -m 755 closed theirs; mkdir -m 700 hidden
cp "$SREGFS" theirs/sregfs; chmod 755 theirs/sregfs; cp users/ann@uni.edu/* theirs; cp mine.sif theirs; chown -R 65534:65534 theirs; chmod 755 . ..`).ok(t)
	plain := w.as("ann@uni.edu", "HOME="+theirs, "SREGFS_STATE_DIR="+theirs+"/state", "SREGFS_TOKEN="+theirs+"/token.json",
		"SREGISTRY_GOOGLE_DRIVE_CREDENTIALS="+theirs+"/client_secrets.json", "SREGISTRY_STORAGE="+theirs+"/shub")
	for _, test := range []struct {
		set, args string
		code      int
		text      string
	}{
		{"", "push --name lab/b:1 secret", exitError, "secret: permission denied"},
		{"", "push --name lab/b:1 hidden/x.sif", exitError, "hidden/x.sif: permission denied"},
		{"", "add --copy --name lab/b:1 secret", exitError, "secret: permission denied"},
		{"", "add --name lab/b:1 mine.sif", exitError, "permission denied"}, // it can be read, not moved
		{"", "pull --name closed/a.sif lab/a:1", exitError, "closed: permission denied"},
		{"", "pull --name hidden/a.sif lab/a:1", exitError, "hidden/a.sif: permission denied"},
		{"SREGISTRY_STORAGE=closed/shub", "pull lab/a:1", exitError, "closed/shub: permission denied"},
		{"SREGISTRY_STORAGE=closed/shub", "add --copy --name lab/b:1 mine.sif", exitError, "closed/shub: permission denied"},
		{"SREGISTRY_STORAGE=hidden", "images", exitError, "hidden: permission denied"},
		{"SREGFS_STATE_DIR=closed/state", "search", exitPermission, "closed/state: permission denied"},
		{"SREGFS_STATE_DIR=hidden", "search", exitPermission, "hidden"},
		{"SREGISTRY_GOOGLE_DRIVE_CREDENTIALS=secret", "search", exitSignIn, "secret: permission denied"},
		{"SREGFS_TOKEN=secret", "push --name lab/b:1 mine.sif", exitSignIn, "sregfs login"},
		{"SREGISTRY_THUMBNAIL=secret", "push --name lab/b:1 mine.sif", exitError, "secret: permission denied"},
		{"", "mount hidden", exitPermission, "hidden: permission denied"},
		{"", "mount hidden/mnt", exitPermission, "hidden/mnt: permission denied"},
		{"", "emulator --dir closed/drive", exitPermission, "closed/drive: permission denied"},
		{"", "import --database secret", exitError, "secret: permission denied"},
	} {
		t.Run(strings.TrimSpace(test.set+" "+test.args), func(t *testing.T) {
			r := plain.sh("setpriv --reuid=65534 --regid=65534 --clear-groups env " + test.set + " theirs/sregfs -q " + test.args)
			oneLine(t, r, test.code, test.text)
			require.Empty(t, r.out)
		})
	}
	require.Equal(t, 1, images(w))
	require.Empty(t, ann.sh("find closed hidden theirs/shub -type f 2>/dev/null; true").ok(t), "nothing half written")
	require.FileExists(t, w.path("mine.sif"))
}

// Of an encrypted image inspect prints what can be read, and says why the rest is not there.
func TestInspectOfAnEncryptedImage(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"without a mount", "with a mount", "a copy here"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ann := w.as("ann@uni.edu")
			user := w.srv.User("ann@uni.edu")
			labels := imagetest.Labels{"maintainer": "ann"}
			indextest.Put(t, user, "lab/new:1", encrypted(imagetest.SIF(t, 200_000, labels), 2), nil)
			indextest.Put(t, user, "lab/old:1", encrypted(imagetest.SIF(t, 200_000, labels, imagetest.Old(true)), 1), nil)
			switch mode {
			case "with a mount":
				ann.mount()
			case "a copy here":
				ann.sregfs("pull", "lab/new:1", "lab/old:1").ok(t)
			}
			var got inspection
			require.NoError(t, json.Unmarshal([]byte(ann.sregfs("--json", "inspect", "lab/new:1").ok(t)), &got))
			require.Equal(t, map[string]string(labels), got.Meta.Labels, "the SIF has them beside its file system")
			r := ann.sregfs("-q", "inspect", "lab/old:1")
			oneLine(t, r, exitError, "lab/old:1", "encrypted")
			got = inspection{}
			require.NoError(t, json.Unmarshal([]byte(r.out), &got))
			require.NotNil(t, got.Meta)
			require.Contains(t, got.Meta.Deffile, "Bootstrap:", "that the SIF has, too")
			require.Empty(t, got.Meta.Runscript)
		})
	}
}

// encrypted marks the partition of a SIF, which the descriptor of this number says, as encrypted.
func encrypted(sif []byte, descriptor int) []byte {
	const table, size, fstype, encryptedSquashfs = 4096, 585, 201, 5 // https://github.com/sylabs/sif, pkg/sif
	sif[table+descriptor*size+fstype] = encryptedSquashfs
	return sif
}
