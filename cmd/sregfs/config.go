package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"sregfs/drive"
	"sregfs/index"
)

// settings are the choices that all verbs share; origin.go says where each value
// comes from.
type settings struct {
	URL         string        // Drive's address
	Credentials string        // OAuth client JSON or service-account key
	Token       string        // where the grant is kept
	Import      string        // where the Python tool keeps its grant, used while there is none of ours
	SaveToken   bool          // false: a refreshed token is never written
	State       string        // state directory
	Cache       string        // block cache
	Root        string        // folder of the registry, by name
	RootID      string        // or by id
	Storage     string        // where pull puts images
	Thumbnail   string        // picture of pushed images; "" is our robot
	Timeout     time.Duration // how long passing faults are retried
	Bandwidth   bwlimit       // of all that goes to and comes from Drive
	Prefetch    amount        // of what is fetched before anybody waits for it
	Chunk       amount        // of an upload, sent in one request
	Progress    string        // style of progress
	Quiet       bool
	Debug       bool
	JSON        bool

	command string            // prints the credentials, in place of a file; "" for none
	origins map[string]origin // of the values, by key
}

// register declares the flags that all verbs have. Their defaults are those of
// the program: the environment and the files come in by resolve.
func (s *settings) register(f *pflag.FlagSet) {
	f.StringVar(&s.URL, "drive-url", drive.DefaultURL, "address of the Drive service (SREGFS_DRIVE_URL)")
	f.StringVar(&s.Credentials, "credentials", "", "OAuth client file or service-account key (SREGISTRY_GOOGLE_DRIVE_CREDENTIALS)")
	f.StringVar(&s.Token, "token", "", "file that keeps the sign-in (SREGFS_TOKEN; default STATE/token)")
	f.StringVar(&s.State, "state-dir", "", "records, drafts and journal (SREGFS_STATE_DIR; default ~/.singularity/sregfs)")
	f.StringVar(&s.Cache, "cache-dir", "", "image blocks (SREGFS_CACHE_DIR; default STATE/blocks)")
	f.StringVar(&s.Root, "root", index.DefaultRoot, "folder of the registry in My Drive (SREGISTRY_GOOGLE_DRIVE_ROOT)")
	f.StringVar(&s.RootID, "root-id", "", "folder of the registry by its Drive id, instead of --root (SREGFS_ROOT_ID)")
	f.StringVar(&s.Storage, "storage", "", "where pull puts images (SREGISTRY_STORAGE; default ~/.singularity/shub)")
	f.StringVar(&s.Thumbnail, "thumbnail", "", "picture of pushed images, PNG, JPEG or GIF (SREGISTRY_THUMBNAIL; default: a robot)")
	f.DurationVar(&s.Timeout, "timeout", 60*time.Second, "how long a passing fault of Drive or the network is retried")
	f.Var(&s.Bandwidth, "bwlimit", "most bytes a second, like 10M, or 1M:10M for up and down; off: no limit")
	f.Var(&s.Prefetch, "bwlimit-prefetch", "most bytes a second of what is fetched ahead; of --bwlimit it has what is left anyway")
	f.Var(&s.Chunk, "upload-chunk", "most that one request of an upload sends, like 64M, for a proxy that takes no long ones")
	f.StringVar(&s.Progress, "progress", progressAuto, "how progress is shown: auto, bar, plain, json or none")
	f.BoolVarP(&s.Quiet, "quiet", "q", false, "print results only")
	f.BoolVar(&s.Debug, "debug", false, "print what happens, in detail")
	f.BoolVar(&s.JSON, "json", false, "print results as JSON; 'sregfs help json' says what")
}

// check completes the settings once they are resolved.
func (s *settings) check() error {
	if s.State == "" {
		s.State = filepath.Join(databaseFolder(), "sregfs")
	}
	if s.Storage == "" {
		s.Storage = filepath.Join(home(), ".singularity", "shub")
	}
	if command, ok := strings.CutPrefix(s.Credentials, commandMark); ok {
		s.Credentials, s.command = "", command
	}
	for _, p := range []*string{&s.State, &s.Cache, &s.Token, &s.Credentials, &s.Storage, &s.Thumbnail} {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return fmt.Errorf("%s: %w", *p, err)
		}
		*p = abs
	}
	if s.Token == "" || s.origins["token"].name == byDefault {
		s.Token = filepath.Join(s.State, "token")
	}
	s.Import = toolToken()
	s.SaveToken = !truthy(os.Getenv("SREGISTRY_DISABLE_CREDENTIAL_CACHE")) && !truthy(os.Getenv("SREGISTRY_DISABLE_CREDENTIAL_GOOGLE_DRIVE"))
	// The registry tool takes the last part of a path given as the folder.
	if s.Root = filepath.Base(s.Root); s.Root == "." || s.Root == "/" || s.Root == ".." {
		return usagef("--root needs the name of a folder")
	}
	if s.Timeout <= 0 {
		return usagef("--timeout must be more than zero")
	}
	switch s.Progress {
	case progressAuto, progressBar, progressPlain, progressJSON, progressNone:
	default:
		return usagef("--progress is auto, bar, plain, json or none, not %q", s.Progress)
	}
	return nil
}

// home is the person's directory.
func home() string {
	dir, err := os.UserHomeDir()
	if err != nil {
		return "/"
	}
	return dir
}

// folder names the registry's folder for people.
func (s *settings) folder() string {
	if s.RootID != "" {
		return s.RootID
	}
	return s.Root
}

// auth opens the sign-in. Without a credentials file it returns
// drive.ErrNoCredentials; one that is named and missing is drive.ErrCredentials.
func (a *app) auth() (*drive.Auth, error) {
	o := drive.AuthOptions{Credentials: a.set.Credentials, Token: a.set.Token, Import: a.set.Import, Save: a.set.SaveToken, Log: a.log}
	if a.set.command != "" {
		o.Credentials = a.set.origins["credentials"].name
		o.Read = func() ([]byte, error) {
			text, err := printed(a.set.command)
			if err != nil {
				return nil, fmt.Errorf("the command of %s: %w", o.Credentials, err)
			}
			return text, nil
		}
	}
	auth, err := drive.OpenAuth(o)
	if errors.Is(err, drive.ErrNoCredentials) && a.set.Credentials != "" {
		return nil, fmt.Errorf("%s does not exist: %w", a.set.Credentials, drive.ErrCredentials)
	}
	return auth, err
}

// commandMark begins a value that is a command which prints the value.
const commandMark = "!"

// printed is what command prints. It may ask for a password on the terminal meanwhile, but not on stdin, which is the verb's.
func printed(command string) ([]byte, error) {
	cmd := exec.Command("sh", "-c", command) //nolint:noctx // it is the person's own, and ends with us by ^C
	cmd.Stderr = os.Stderr
	return cmd.Output()
}

// truthy reads a switch of the environment the way the registry tool does.
func truthy(v string) bool {
	switch strings.ToLower(v) {
	case "yes", "true", "t", "1", "y":
		return true
	}
	return false
}

// parseSize reads a number of bytes as people write it; "" is 0, the default.
func parseSize(flag, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return 0, usagef("--%s %q is no size; write it like 20GB", flag, text)
	}
	return int64(n), nil
}
