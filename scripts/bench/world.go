package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sregfs/drive/drivetest"
)

// The line of all measurements, in bytes a second.
const (
	perConnection = 40_000_000
	total         = 125_000_000
)

// latencies to the first byte, in milliseconds.
var latencies = []int{50, 150, 300}

// A bench is one run: the emulated Drive, the directory everything temporary is in, and what was found.
type bench struct {
	ctx    context.Context //nolint:containedctx // the run's own, which ^C ends
	o      options
	only   *regexp.Regexp
	dir    string // removed at the end
	srv    *drivetest.Server
	user   *drivetest.User
	images map[string]*hosted // in the Drive so far, by name
	plain  string             // id of the Drive folder whose files have plain names
	warm   map[string]string  // state directory with the image's blocks on disk, by image
	report *report

	log   string         // of the mount made last; shown when something went wrong
	made  int            // directories so far, for their names
	after []func() error // what close does, last first
}

// A hosted image is one in the Drive, pushed there by sregfs.
type hosted struct {
	local string // the file it was pushed from
	size  int64
	path  string // below a mount point
	id    string // of the Drive file
	plain string // name of its copy in the plain folder
	uri   string
	// The profiles that its properties may hold: what the push made, then by the name of what recorded them.
	profiles map[string]map[string]string
}

// label says in a report how large the image is, and on what line it is read.
func (h *hosted) label() string { return fmt.Sprintf("%.0f MB at 150 ms", mb(h.size)) }

// newBench starts the Drive. The bench is returned with an error too if something has to be closed.
func newBench(ctx context.Context, o options, only *regexp.Regexp) (*bench, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("mounts and namespaces need root; run it with sudo")
	}
	dir, err := os.MkdirTemp(o.temp, "sregfs-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{ctx: ctx, o: o, only: only, dir: dir, images: map[string]*hosted{}, warm: map[string]string{}}
	b.after = append(b.after, func() error { return os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // the ordinary user goes through it
		return b, err
	}
	// A mount of its own that is shared, so that what is mounted below it later shows in sessions, whatever / is.
	if err := errors.Join(unix.Mount(dir, dir, "", unix.MS_BIND, ""), unix.Mount("", dir, "", unix.MS_SHARED, "")); err != nil {
		return b, fmt.Errorf("bind %s: %w", dir, err)
	}
	b.after = append(b.after, func() error { return unix.Unmount(dir, unix.MNT_DETACH) })
	if b.o.sregfs == "" {
		b.o.sregfs = filepath.Join(dir, "sregfs")
		if err := b.command("go", "build", "-o", b.o.sregfs, "sregfs/cmd/sregfs").Run(); err != nil {
			return b, fmt.Errorf("go build: %w", err)
		}
	}
	b.srv, err = b.newDrive()
	if err != nil {
		return b, err
	}
	b.user = b.srv.User("")
	folder, err := b.user.Put(drivetest.File{Name: "plain", MimeType: folderType}, nil)
	if err != nil {
		return b, err
	}
	b.plain = folder.ID
	b.report, err = newReport(b)
	return b, err
}

const folderType = "application/vnd.google-apps.folder"

// newDrive starts an empty Drive on a fast line; close ends it.
func (b *bench) newDrive() (*drivetest.Server, error) {
	srv, err := drivetest.Open(drivetest.Options{})
	if err != nil {
		return nil, err
	}
	b.after = append(b.after, srv.Close)
	return srv, srv.Listen("127.0.0.1:0")
}

// close undoes all, the latest first, also when the run was interrupted.
func (b *bench) close() (err error) {
	for _, f := range slices.Backward(b.after) {
		err = errors.Join(err, f())
	}
	return err
}

// lastWords is the end of the log of the mount made last.
func (b *bench) lastWords() string {
	text, err := os.ReadFile(b.log)
	if err != nil {
		return ""
	}
	return "\nthe log of the mount made last ends with:\n" + string(text[max(0, len(text)-2000):])
}

// wants tells whether a measurement is to be made.
func (b *bench) wants(name string) bool { return b.only.MatchString(name) }

// path is a path in the temporary directory.
func (b *bench) path(elem ...string) string {
	return filepath.Join(append([]string{b.dir}, elem...)...)
}

// fresh is a new empty directory.
func (b *bench) fresh(kind string) (string, error) {
	b.made++
	dir := b.path(fmt.Sprintf("%s%d", kind, b.made))
	return dir, os.MkdirAll(dir, 0o755)
}

// line sets the line of the measurements, with so many milliseconds to the first byte.
func (b *bench) line(latency int) {
	b.srv.SetShape(drivetest.Shape{Latency: time.Duration(latency) * time.Millisecond, PerConnection: perConnection, Total: total})
}

// fast lifts all limits, for what is not measured.
func (b *bench) fast() { b.srv.SetShape(drivetest.Shape{}) }

// command is a program of this machine, whose errors show.
func (b *bench) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(b.ctx, name, args...)
	cmd.Stderr = os.Stderr
	return cmd
}

// output runs a program; its error says what it said.
func output(cmd *exec.Cmd) (string, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// image returns the hosted image of this name (science, workbench), pushing it the first time. The push is made by
// sregfs on a fast line, so its properties are what a push gives; a copy of it with a plain name is for other clients.
func (b *bench) image(name string) (*hosted, error) {
	if img := b.images[name]; img != nil {
		return img, nil
	}
	img := &hosted{local: filepath.Join(b.o.images, name+".sif"), path: "lab/" + name + ":1.sif", uri: "lab/" + name + ":1", plain: name + ".sif"}
	st, err := os.Stat(img.local)
	if err != nil {
		return nil, fmt.Errorf("no image %s: %w; scripts/setup --bench makes it", name, err)
	}
	img.size = st.Size()
	fmt.Printf("pushing %s (%.0f MB)\n", name, mb(img.size))
	b.fast()
	state, err := b.fresh("state")
	if err != nil {
		return nil, err
	}
	out, err := output(b.tool(state, "push", "--json", "--name", img.uri, img.local))
	if err != nil {
		return nil, err
	}
	var pushed struct{ ID string }
	if err := json.Unmarshal([]byte(out), &pushed); err != nil || pushed.ID == "" {
		return nil, fmt.Errorf("push --json said no id: %w\n%s", err, out)
	}
	img.id = pushed.ID
	img.profiles = map[string]map[string]string{"static": b.profile(img)}
	if len(img.profiles["static"]) == 0 {
		b.report.note("the push of %s left no profile in its properties: \"static\" is without one", name)
	}
	if err := b.copyPlain(img); err != nil {
		return nil, err
	}
	b.images[name] = img
	return img, os.RemoveAll(state)
}

// copyPlain copies the image on the server into the plain folder, by its plain name.
func (b *bench) copyPlain(img *hosted) error {
	body := fmt.Sprintf(`{"name":%q,"parents":[%q]}`, img.plain, b.plain)
	req, err := http.NewRequestWithContext(b.ctx, http.MethodPost, b.srv.URL()+"/drive/v3/files/"+img.id+"/copy", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// do sends a request as the user, on a connection of its own; an answer that is no success is an error.
func (b *bench) do(req *http.Request) (*http.Response, error) {
	req.Header.Set("Authorization", "Bearer "+b.user.AccessToken())
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return nil, fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, resp.Status, text)
	}
	return resp, nil
}

// profileKey begins the names of the properties that hold a profile.
const profileKey = "sregfs.profile."

// profile is what the image's properties hold of a profile now.
func (b *bench) profile(img *hosted) map[string]string {
	f, _ := b.user.File(img.id)
	p := maps.Clone(f.Properties)
	maps.DeleteFunc(p, func(key, _ string) bool { return !strings.HasPrefix(key, profileKey) })
	return p
}

// setProfile puts one of the image's profiles into its properties in place of what is there; "" leaves none.
func (b *bench) setProfile(img *hosted, name string) error {
	return b.user.Patch(img.id, func(f *drivetest.File) {
		properties := maps.Clone(f.Properties)
		maps.DeleteFunc(properties, func(key, _ string) bool { return strings.HasPrefix(key, profileKey) })
		maps.Copy(properties, img.profiles[name])
		f.Properties = properties
	})
}

// traffic is what the Drive sent of image bytes since its log was emptied.
type traffic struct {
	requests int
	bytes    int64
}

// settled is how long a request whose client has gone may take to be in the log: a step of a paced transfer.
const settled = 100 * time.Millisecond

// traffic sums up the log so far; verbose shows the requests.
func (b *bench) traffic(verbose bool) (t traffic) {
	select {
	case <-time.After(settled):
	case <-b.ctx.Done():
	}
	requests := b.srv.Requests()
	slices.SortFunc(requests, func(a, b drivetest.Request) int { return a.Time.Compare(b.Time) })
	for _, r := range requests {
		if r.Op != "media" {
			continue
		}
		t.requests++
		t.bytes += r.Out
		if verbose {
			fmt.Printf("    +%6.0f ms  %s  %.0f KB in %.0f ms  %s\n", ms(r.Time.Sub(requests[0].Time)), r.Range, float64(r.Out)/1e3, ms(r.Latency), r.Connection)
		}
	}
	return t
}

func mb(n int64) float64         { return float64(n) / 1e6 }
func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }
