package fs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
	"sregfs/fs/fstest"
	"sregfs/index/indextest"
)

// watcher looks at a name, again and again, and says what it saw that was not true. A control file holds the digest that was
// acknowledged last, the one on its way ("-" for none), and how it goes there: "inplace" means that half of it may be seen.
const watcher = `
import hashlib, os, sys, time
name, control = sys.argv[1], sys.argv[2]
def said():
    while True:
        try:
            return open(control).read().split()
        except FileNotFoundError:
            time.sleep(0.001)
looks = 0
while True:
    before = said()
    if before[0] == 'stop':
        break
    try:
        os.stat(name)
        there = os.path.basename(name) in os.listdir(os.path.dirname(name))
        got = hashlib.md5(open(name, 'rb').read()).hexdigest()
    except OSError as e:
        there, got = False, str(e)
    after = said()
    looks += 1
    inplace = 'inplace' in before + after
    if after[0] != 'stop' and not (there and (inplace and len(got) == 32 or got in before[:2] + after[:2])):
        print('look', looks, 'listed', there, 'saw', got, 'between', before, after)
        sys.exit(1)
print(looks)
`

// TestOwnWritesNeverFlicker: while a name is overwritten again and again, and Drive's listings and its feed are behind, who
// looks at it always finds it there, with the bytes acknowledged last or those on their way.
func TestOwnWritesNeverFlicker(t *testing.T) {
	t.Parallel()
	for _, background := range []bool{false, true} {
		t.Run(fmt.Sprintf("background %v", background), func(t *testing.T) {
			lag := 70 * time.Millisecond
			srv := drivetest.NewServer(t, drivetest.Options{
				Quirks: drivetest.Quirks{ListLag: lag, ChangesLag: lag}, Shape: drivetest.Shape{Latency: 2 * time.Millisecond},
			})
			user := srv.User("")
			root := indextest.Root(t, user)
			client := indextest.Client(t, srv, user)
			indextest.Eventually(t, func() bool {
				_, _, err := client.Folder(t.Context(), "sregistry")
				return err == nil
			}, root)
			m := fstest.Mount(t, srv, fstest.Options{Background: background, Poll: 5 * time.Millisecond})
			script := local(t, "watch.py", []byte(watcher))
			var sums []string
			env := []string{"WATCH=" + script, "CONTROL=" + t.TempDir() + "/control"}
			for i := range 6 {
				content := sif(t, 60_000, uint64(i))
				sums = append(sums, md5sum(content))
				env = append(env, fmt.Sprintf("IMAGE%d=%s", i, local(t, "image", content)))
			}
			var b strings.Builder
			b.WriteString("say() { echo \"$@\" > $CONTROL.new && mv $CONTROL.new $CONTROL; }\ntrap 'say stop' EXIT\nmkdir c && cp $IMAGE0 c/x:1.sif && say " + sums[0] + " - -\n")
			b.WriteString("python3 $WATCH $PWD/c/x:1.sif $CONTROL & watch=$!\n")
			last := sums[0]
			for round := range 24 {
				i := (round + 1) % len(sums)
				how := []string{"cp $IMAGE%d c/x:1.sif", "cp $IMAGE%d c/.part && mv c/.part c/x:1.sif", "cat $IMAGE%d > c/x:1.sif"}[round%3]
				mode := []string{"inplace", "atomic", "inplace"}[round%3]
				fmt.Fprintf(&b, "say %s %s %s; "+how+" || exit 1; say %s - -; kill -0 $watch || { wait $watch; exit 1; }\n", last, sums[i], mode, i, sums[i])
				if round%3 == 0 {
					b.WriteString("/bin/sleep 0.1\n") // the lag passes: the feed tells of our own write
				}
				last = sums[i]
			}
			b.WriteString("say stop; wait $watch")
			out := m.Sh(b.String(), env...)
			t.Logf("%s looks", out)
		})
	}
}

// TestARetagNeverFlickers: the feed is behind a retag of ours and a removal, and brings neither name back.
func TestARetagNeverFlickers(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{Quirks: drivetest.Quirks{ChangesLag: 150 * time.Millisecond}})
	user := srv.User("")
	for i := range 8 {
		indextest.Put(t, user, fmt.Sprintf("c/x:%d", i), sif(t, 60_000, uint64(i)), nil)
	}
	m := fstest.Mount(t, srv, fstest.Options{Poll: 5 * time.Millisecond})
	m.Sh(`for i in 0 1 2 3; do mv c/x:$i.sif c/y:$i.sif; rm c/x:$((i+4)).sif
		for n in $(seq 40); do
			test "$(ls c | grep -c "^[xy]:[0-9].sif")" = $((7-i)) && test -f c/y:$i.sif && test ! -e c/x:$i.sif && test ! -e c/x:$((i+4)).sif || { ls c; exit 1; }
		done
	done`)
}

// TestMineIsNeverShadowed: what others share never takes the place of an image of mine, whatever it is called.
func TestMineIsNeverShadowed(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{Users: []string{"ann@uni.edu", "bob@uni.edu"}})
	ann, bob := srv.User("ann@uni.edu"), srv.User("bob@uni.edu")
	mine, his := sif(t, 60_000, 1), sif(t, 61_000, 2)
	indextest.Put(t, ann, "c/x:1", mine, nil)
	m := fstest.Mount(t, srv, fstest.Options{})
	client := indextest.Client(t, srv, bob)
	for i, name := range []string{"c/x:1", "c/x:1@" + md5sum(mine), "c/x:2", "d/y:1"} {
		f := indextest.Put(t, bob, name, his, nil)
		require.NoError(t, bob.Patch(f.ID, func(f *drivetest.File) { f.Modified = time.Now().Add(time.Hour) }))
		_, err := client.Share(t.Context(), f.ID, drive.Invite{Email: ann.Email(), Role: "writer"})
		require.NoError(t, err)
		m.Sh("echo now > .sregfs/refresh")
		require.Equal(t, []string{"c", "shared-with-me"}, strings.Fields(m.Sh("ls")), "%d", i)
		require.Equal(t, []string{"x:1", "x:1.sif"}, strings.Fields(m.Sh("ls c")))
		m.Sh("cmp $MINE c/x:1.sif && cmp $MINE c/x:1/"+md5sum(mine)+".sif && test ! -e c/x:2.sif && test ! -e d", "MINE="+local(t, "mine", mine))
	}
	m.Sh("cmp $HIS shared-with-me/bob@uni.edu/d/y:1.sif", "HIS="+local(t, "his", his))
}

// TestHostileNamesArrive: files of any name that appear while it is mounted show under names that a directory can hold,
// each can be read, and nothing of them is outside the mount.
func TestHostileNamesArrive(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	user := srv.User("")
	m := fstest.Mount(t, srv, fstest.Options{})
	for i, p := range []map[string]string{
		{"collection": "..", "image": "../../etc/passwd", "tag": "x/y"},
		{"collection": ".sregfs", "image": "status", "tag": "t"},
		{"collection": "shared-with-me/../..", "image": "\x01\x02\n", "tag": ".."},
		{"collection": "a//b", "image": ".", "tag": "."},
		{"collection": "/etc", "image": "%2e%2e", "tag": "-rf"},
		{"collection": "c", "image": "x.sif", "tag": "1.sif", "version": "../../v"},
		{"collection": strings.Repeat("d/", 50), "image": strings.Repeat("i", 110), "tag": strings.Repeat("t", 110)},
		{"uri": "../..//:@"},
	} {
		p["type"] = "container"
		content := []byte(fmt.Sprintf("hostile %d", i))
		indextest.PutRaw(t, user, drivetest.File{Name: "../\x00/" + fmt.Sprint(i), Properties: p}, content)
		m.Sh("echo now > .sregfs/refresh")
		require.Equal(t, fmt.Sprint(2*(i+1)), m.Sh(`find . -type f -print0 | tr -cd '\0' | wc -c`), "a tag's file and its version each")
		m.Sh(fmt.Sprintf(`find . -type f -exec cat {} + | grep -q 'hostile %d'`, i))
		require.Empty(t, m.Sh(`find . -name '..?*' -o -name '*[[:cntrl:]]*'`))
	}
	m.Sh("rm -r ./*")
	require.Empty(t, m.Sh("ls -A"))
}

// TestReadersDoNotDisturbWriters: programs that open a name to read, and close it, while another opens it to write are no
// reason for the writer to fail.
func TestReadersDoNotDisturbWriters(t *testing.T) {
	t.Parallel()
	srv := drivetest.NewServer(t, drivetest.Options{})
	m := fstest.Mount(t, srv, fstest.Options{})
	m.Sh(`mkdir c; cp $ONE c/x:1.sif
		for n in 1 2 3; do (while test ! -e $STOP; do head -c 1 c/x:1.sif; done > /dev/null 2>&1) & done
		trap 'touch $STOP; wait' EXIT
		for n in $(seq 30); do cat $ONE > c/x:1.sif && cat $TWO > c/x:1.sif && truncate -s $(stat -c %s $TWO) c/x:1.sif || exit 1; done`,
		"ONE="+local(t, "one", sif(t, 60_000, 1)), "TWO="+local(t, "two", sif(t, 60_000, 2)), "STOP="+t.TempDir()+"/stop")
}
