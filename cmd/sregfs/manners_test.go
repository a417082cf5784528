package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// Several images at once: one that fails does not hinder the others, and the exit
// code tells.
func TestSeveralImages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	user := w.srv.User("ann@uni.edu")
	for i, name := range []string{"lab/a:1", "lab/b:1", "lab/c:1"} {
		indextest.Put(t, user, name, imagetest.SIF(t, 200_000, imagetest.Seed(uint64(i))), nil)
	}
	r := ann.sregfs("-q", "pull", "lab/a:1", "lab/none:1", "lab/b:1")
	require.Equal(t, exitNotFound, r.code)
	require.Equal(t, 2, strings.Count(r.out, "\n"), r.out)
	oneLine(t, r, exitNotFound, "lab/none:1")
	r = ann.sregfs("-q", "get", "lab/none:1", "lab/a:1", "a:b:c")
	require.Equal(t, 2, strings.Count(r.err, "ERROR "), r.err)
	require.Equal(t, 1, strings.Count(r.out, "\n"))
	require.Equal(t, 3, strings.Count(ann.sregfs("-q", "search", "lab/a", "lab/b", "nothing").ok(t), "Found "))
	require.Equal(t, 2, strings.Count(ann.sregfs("-q", "rm", "lab/a:1", "lab/b:1").ok(t), "\n"))
	require.Equal(t, 2, strings.Count(ann.sregfs("-q", "delete", "-f", "lab/a:1", "lab/b:1").ok(t), "[delete]"))
	require.Equal(t, 1, live(user))
	out := ann.sregfs("share", "--email", "bob@uni.edu", "lab/c:1").ok(t)
	require.Contains(t, out, "Share to bob@uni.edu complete: ")
}

// People's scripts: a first command that fails keeps the second from running.
func TestPipelines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	w.file("i.sif", imagetest.SIF(t, 200_000))
	ann.sregfs("push", "--name", "vsoch/hello-world", "i.sif").ok(t)
	ann.sh(`set -e; "$SREGFS" pull vsoch/hello-world; cmp i.sif "$("$SREGFS" get vsoch/hello-world)"`).ok(t)
	ann.sh(`"$SREGFS" pull vsoch/hello-world && "$SREGFS" push --name vsoch/again "$("$SREGFS" get vsoch/hello-world)"`).ok(t)
	require.Equal(t, 2, images(w))
	r := ann.sh(`"$SREGFS" pull vsoch/none && "$SREGFS" push --name vsoch/third i.sif`)
	require.Equal(t, exitNotFound, r.code)
	require.Equal(t, 2, images(w))
}

// dedupe removes what is there twice, and nobody loses sight of it.
func TestDedupe(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"without a mount", "with a mount"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ann := w.as("ann@uni.edu")
			user := w.srv.User("ann@uni.edu")
			sif := imagetest.SIF(t, 200_000)
			old := indextest.Put(t, user, "lab/twice:1", sif, nil)
			indextest.Put(t, user, "lab/twice:1", sif, nil)
			indextest.Put(t, user, "lab/once:1", sif, nil)
			ann.sregfs("share", "--email", "bob@uni.edu", old.ID).ok(t)
			if mode == "with a mount" {
				ann.mount()
			}
			require.Contains(t, ann.sregfs("dedupe", "--dry-run").ok(t), old.ID)
			oneLine(t, ann.sregfs("-q", "dedupe"), exitUsage, "--force")
			require.Equal(t, 3, live(user))
			require.Contains(t, ann.sregfs("dedupe", "--force").ok(t), "[delete] lab/twice:1")
			require.Equal(t, 2, live(user))
			require.Contains(t, ann.sregfs("share", "ls", "lab/twice:1").ok(t), "bob@uni.edu reader")
			require.Contains(t, ann.sregfs("dedupe", "--force").ok(t), "Every image is there once.")
		})
	}
}

func live(user *drivetest.User) int {
	n := 0
	for _, f := range user.Files() {
		if f.Properties["type"] == "container" && !f.Trashed {
			n++
		}
	}
	return n
}

// Each key that --json prints is in the documentation of it, and nothing else is
// on stdout.
func TestJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	w.file("i.sif", imagetest.SIF(t, 200_000))
	help := ann.sregfs("help", "json").ok(t)
	for _, args := range []string{"push --name lab/a:1 i.sif", "search", "record lab/a:1", "images", "pull lab/a:1", "get lab/a:1", "share --email bob@uni.edu lab/a:1",
		"share ls lab/a:1", "labels", "labels --set a=b lab/a:1", "labels", "pin lab/a:1", "prefetch lab/a:1", "unpin lab/a:1", "mv lab/a:1 m.sif", "rename lab/a:1 lab/b:1",
		"add --copy --name lab/c:1 i.sif", "rm lab/b:1", "dedupe", "config show", "doctor", "import", "delete -f lab/b:1"} {
		r := ann.sregfs(append([]string{"--json"}, strings.Fields(args)...)...)
		r.ok(t)
		require.Empty(t, r.err, args)
		dec := json.NewDecoder(strings.NewReader(r.out))
		for dec.More() {
			var v any
			require.NoError(t, dec.Decode(&v), "%s: %s", args, r.out)
			if list, ok := v.([]any); ok && len(list) > 0 {
				v = list[0]
			}
			object, _ := v.(map[string]any)
			for key := range object {
				require.Contains(t, help, key, args)
			}
		}
	}
	r := ann.sregfs("--json", "get", "lab/none:1")
	var failed struct {
		Type, Message string
		Code          int
	}
	require.NoError(t, json.Unmarshal([]byte(r.err), &failed), r.err)
	require.Equal(t, "exit_error", failed.Type)
	require.Equal(t, exitNotFound, failed.Code)
	require.Equal(t, exitNotFound, r.code)
	require.Contains(t, failed.Message, "lab/none:1")
}

// The shells complete image names, from what is known.
func TestCompletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	for i, name := range []string{"lab/alpha:1", "lab/beta:1", "vsoch/hello-world:latest"} {
		indextest.Put(t, w.srv.User("ann@uni.edu"), name, imagetest.SIF(t, 100_000, imagetest.Seed(uint64(i))), nil)
	}
	ann.sregfs("search").ok(t)
	off := w.as("ann@uni.edu", "SREGFS_DRIVE_URL=http://127.0.0.1:1")
	names := func(args ...string) []string {
		t.Helper()
		var out []string
		for line := range strings.Lines(off.sregfs(append([]string{"__complete"}, args...)...).ok(t)) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, ":") {
				out = append(out, line)
			}
		}
		return out
	}
	require.ElementsMatch(t, []string{"lab/alpha:1", "lab/beta:1"}, names("pull", "lab/"))
	require.Equal(t, []string{"lab/beta:1"}, names("get", "lab/alpha:1", "lab/"))
	require.Equal(t, []string{"vsoch/hello-world:latest"}, names("share", "--email", "x@y.z", "VS"))
	require.Len(t, names("inspect", "lab/alpha:1@"), 1)
	require.Empty(t, names("mv", "lab/alpha:1", ""))
	require.Equal(t, []string{"prefetch\tBring a whole image into the cache, and check it"}, names("pre"))
	for shell, mark := range map[string]string{"bash": "__start_sregfs", "zsh": "#compdef sregfs", "fish": "complete -c sregfs"} {
		require.Contains(t, ann.sregfs("completion", shell).ok(t), mark)
	}
	// In a real bash: what the tab key would offer.
	got := off.sh(`dir=$(mktemp -d); ln -s "$SREGFS" $dir/sregfs; PATH=$dir:$PATH; source <(sregfs completion bash)
_get_comp_words_by_ref() { words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=${COMP_WORDS[COMP_CWORD]}; prev=${COMP_WORDS[COMP_CWORD-1]}; }
__ltrimcolon_completions() { :; }; compopt() { :; }
COMP_WORDS=(sregfs pull vso); COMP_CWORD=2; COMP_LINE="sregfs pull vso"; COMP_POINT=15; COMP_TYPE=9
__start_sregfs; printf '%s\n' "${COMPREPLY[@]}"; rm -r $dir`).ok(t)
	require.Equal(t, "vsoch/hello-world:latest", strings.TrimSpace(got))
}

// Every verb's help has an example, and each example is a call that the verb takes.
func TestEveryVerbHasAnExample(t *testing.T) {
	t.Parallel()
	a := app{out: io.Discard}
	root := a.command()
	seen := 0
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			visit(sub)
		}
		if c.Hidden || !c.Runnable() || c.Parent() == nil || c.Parent().Name() == "completion" {
			return
		}
		require.NotEmpty(t, c.Short, c.CommandPath())
		if c.Parent() == root && c.Name() != "version" {
			require.NotEmpty(t, c.Example, c.CommandPath())
		}
		for example := range strings.Lines(c.Example) {
			call := regexp.MustCompile(`\bsregfs ([^|)]*)`).FindStringSubmatch(example)
			require.NotNil(t, call, example)
			words, err := exec.CommandContext(t.Context(), "bash", "-c", `printf '%s\n' `+call[1]).Output() // quotes as the shell reads them
			require.NoError(t, err, example)
			verb, args, err := root.Find(strings.Split(strings.TrimSpace(string(words)), "\n"))
			require.NoError(t, err, example)
			require.True(t, verb == c || verb.Parent() == c, example)
			require.NoError(t, verb.ParseFlags(args), example)
			require.NoError(t, verb.ValidateArgs(verb.Flags().Args()), example)
			seen++
		}
	}
	visit(root)
	require.Greater(t, seen, 30)
}

// README and help tell the same exit codes, those of the program.
func TestExitCodesAreDocumented(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	var a app
	for name, text := range map[string]string{"README": string(readme), "help": a.command().Long} {
		list := regexp.MustCompile(`0 ok,[^.]*`).FindString(text)
		var codes []int
		for _, number := range regexp.MustCompile(`\b\d+\b`).FindAllString(list, -1) {
			code, err := strconv.Atoi(number)
			require.NoError(t, err)
			codes = append(codes, code)
		}
		require.Equal(t, []int{exitOK, exitError, exitUsage, exitNotFound, exitAmbiguous, exitSignIn, exitPermission, exitIntegrity, exitConflict,
			exitPartial, exitNetwork, exitInUse, exitInterrupted}, codes, name)
	}
}
