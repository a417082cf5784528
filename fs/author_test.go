package fs_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/image/imagetest"
)

// TestTwoCopiesOntoOneName: whoever exits 0 has pushed a whole image. Of two that write one name at the same time, one is
// refused; what reaches Drive is never a mixture.
func TestTwoCopiesOntoOneName(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh("mkdir c")
	whole := map[string]bool{}
	env := make([]string, 0, 2)
	for i, name := range []string{"A", "B"} {
		content := imagetest.SIF(t, 3<<20+int64(i)<<19, imagetest.Seed(uint64(i+1)))
		sum := sha256.Sum256(content)
		whole[hex.EncodeToString(sum[:])] = true
		env = append(env, name+"="+local(t, name, content))
	}

	t.Run("in between", func(t *testing.T) {
		for _, before := range []string{"", "cp \"$A\" c/there:1.sif\n"} {
			name := "c/new:1.sif"
			if before != "" {
				name = "c/there:1.sif"
			}
			out := m.Sh(before+`python3 - "$A" "$B" `+name+` <<'E'
import subprocess, sys
a, b, name = sys.argv[1:]
src = open(a, "rb").read()
f = open(name, "wb", buffering=0)
f.write(src[:1000000])
second = subprocess.run(["cp", b, name], capture_output=True, text=True)
assert second.returncode != 0 and "busy" in second.stderr, second
f.write(src[1000000:])
f.close()
subprocess.run(["cmp", a, name], check=True)
subprocess.run(["cp", b, name], check=True)
subprocess.run(["cmp", b, name], check=True)
print("fine")
E`, env...)
			require.Equal(t, "fine", out)
		}
	})
	t.Run("at random", func(t *testing.T) {
		m.Sh(`for i in 1 2 3 4; do (cp "$A" c/same:1.sif || true) & (cp "$B" c/same:1.sif || true) & done; wait`, env...)
	})
	for _, f := range srv.User("").Files() {
		if f.Properties["type"] == "container" {
			require.True(t, whole[f.SHA256], "%s is neither image", f.Name)
		}
	}
}
