package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// The tab key in real shells: image names come from what is known, without the network.
func TestCompletionInShells(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ann := w.as("ann@uni.edu")
	indextest.Put(t, w.srv.User("ann@uni.edu"), "vsoch/hello-world:latest", imagetest.SIF(t, 100_000), nil)
	ann.sregfs("search").ok(t)
	ann.sh(`mkdir bin && ln -s "$SREGFS" bin/sregfs`).ok(t)
	off := w.as("ann@uni.edu", "SREGFS_DRIVE_URL=http://127.0.0.1:1")
	w.srv.ResetRequests()
	for shell, test := range map[string]struct{ script, want string }{
		"fish": {`fish -N -c 'sregfs completion fish | source; complete -C "sregfs pull vs"'`, "vsoch/hello-world:latest"},
		// zsh has no command that asks for completions: it gets a terminal, and a tab.
		"zsh": {`cat > tab.zsh <<'END'
zmodload zsh/zpty
zpty z env PS1= zsh -f -i
zpty -w z 'autoload -U compinit; compinit -u -D; source <(sregfs completion zsh); PS1="REA""DY> "'
zpty -r z line '*READY> ' || exit 3
zpty -n -w z $'sregfs pull vso\t'
zpty -r z line '*latest' || exit 4
print -r -- "$line"
zpty -d z
END
timeout 120 zsh -f tab.zsh`, "sregfs pull vsoch/hello-world:latest"},
	} {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skip("scripts/setup --test installs", shell)
			}
			out := off.sh(`PATH=$PWD/bin:$PATH; mkdir -p "$HOME"; ` + test.script).ok(t)
			require.True(t, strings.HasSuffix(strings.TrimSpace(out), test.want), "%q", out)
		})
	}
	require.Empty(t, w.srv.Requests())
}
