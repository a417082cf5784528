package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"sregfs/drive"
	"sregfs/index"
)

// settings are what flags and the environment say, in the order flag,
// SREGFS_*, SREGISTRY_*, default.
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
	Timeout     time.Duration // how long passing faults are retried
	Quiet       bool
	Debug       bool
	JSON        bool
}

// register declares the flags; their defaults are what the environment says.
func (s *settings) register(f *pflag.FlagSet) {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/"
	}
	database := cmp.Or(os.Getenv("SREGISTRY_DATABASE"), filepath.Join(home, ".singularity"))
	state := cmp.Or(os.Getenv("SREGFS_STATE_DIR"), filepath.Join(database, "sregfs"))
	s.Import = filepath.Join(cmp.Or(os.Getenv("SREGISTRY_CREDENTIALS_CACHE"), database), ".sregistry", "google-drive")
	s.SaveToken = !truthy(os.Getenv("SREGISTRY_DISABLE_CREDENTIAL_CACHE"))
	s.Storage = cmp.Or(os.Getenv("SREGISTRY_STORAGE"), filepath.Join(home, ".singularity", "shub"))

	f.StringVar(&s.URL, "drive-url", cmp.Or(os.Getenv("SREGFS_DRIVE_URL"), drive.DefaultURL), "address of the Drive service (SREGFS_DRIVE_URL)")
	f.StringVar(&s.Credentials, "credentials", cmp.Or(os.Getenv("SREGFS_CREDENTIALS"), os.Getenv("SREGISTRY_GOOGLE_DRIVE_CREDENTIALS")),
		"OAuth client file or service-account key (SREGISTRY_GOOGLE_DRIVE_CREDENTIALS)")
	f.StringVar(&s.Token, "token", os.Getenv("SREGFS_TOKEN"), "file that keeps the sign-in (SREGFS_TOKEN; default STATE/token)")
	f.StringVar(&s.State, "state-dir", state, "records, drafts and journal (SREGFS_STATE_DIR)")
	f.StringVar(&s.Cache, "cache-dir", os.Getenv("SREGFS_CACHE_DIR"), "image blocks (SREGFS_CACHE_DIR; default STATE/blocks)")
	f.StringVar(&s.Root, "root", cmp.Or(os.Getenv("SREGFS_ROOT"), os.Getenv("SREGISTRY_GOOGLE_DRIVE_ROOT"), index.DefaultRoot), "folder of the registry in My Drive (SREGISTRY_GOOGLE_DRIVE_ROOT)")
	f.StringVar(&s.RootID, "root-id", os.Getenv("SREGFS_ROOT_ID"), "folder of the registry by its Drive id, instead of --root (SREGFS_ROOT_ID)")
	f.DurationVar(&s.Timeout, "timeout", 60*time.Second, "how long a passing fault of Drive or the network is retried")
	f.BoolVarP(&s.Quiet, "quiet", "q", false, "print results only")
	f.BoolVar(&s.Debug, "debug", false, "print what happens, in detail")
	f.BoolVar(&s.JSON, "json", false, "print results as JSON")
}

// check completes the settings once the flags are read.
func (s *settings) check() error {
	for _, p := range []*string{&s.State, &s.Cache, &s.Token, &s.Credentials, &s.Storage} {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return fmt.Errorf("%s: %w", *p, err)
		}
		*p = abs
	}
	s.Token = cmp.Or(s.Token, filepath.Join(s.State, "token"))
	// The registry tool takes the last part of a path given as the folder.
	s.Root = filepath.Base(s.Root)
	if s.Timeout <= 0 {
		return usagef("--timeout must be more than zero")
	}
	return nil
}

// folder names the registry's folder for people.
func (s *settings) folder() string { return cmp.Or(s.RootID, s.Root) }

// auth opens the sign-in. Without a credentials file it returns
// drive.ErrNoCredentials; one that is named and missing is drive.ErrCredentials.
func (a *app) auth() (*drive.Auth, error) {
	auth, err := drive.OpenAuth(drive.AuthOptions{
		Credentials: a.set.Credentials, Token: a.set.Token, Import: a.set.Import, Save: a.set.SaveToken, Log: a.log,
	})
	if errors.Is(err, drive.ErrNoCredentials) && a.set.Credentials != "" {
		return nil, fmt.Errorf("%s does not exist: %w", a.set.Credentials, drive.ErrCredentials)
	}
	return auth, err
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
