package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Where settings come from. A key is the name of a flag. The first of these that
// has a value wins: the flag; SREGFS_KEY; the registry tool's own variable; the
// person's config file; the machine's; the registry tool's settings file, where
// that tool keeps what its variables once said; the default.

// toolVariables are the registry tool's variables, by our keys.
var toolVariables = map[string]string{
	"credentials": "SREGISTRY_GOOGLE_DRIVE_CREDENTIALS",
	"root":        "SREGISTRY_GOOGLE_DRIVE_ROOT",
	"storage":     "SREGISTRY_STORAGE",
	"thumbnail":   "SREGISTRY_THUMBNAIL",
}

// variables are our own where they are not SREGFS_KEY.
var variables = map[string]string{"state-dir": "SREGFS_STATE_DIR", "cache-dir": "SREGFS_CACHE_DIR"}

// perCall are flags that say what one call does: no file and no variable sets
// them.
var perCall = []string{"json", "help", "version", "foreground", "options"}

// configurable are the keys of verbs' own flags that may be set for good.
var configurable = []string{
	"allow-other", "allow-root", "default-permissions", "auto-unmount", "read-only", "fsname", "uid", "gid", "umask", "push", "rm",
	"cache-size", "cache-min-free", "complete", "profile", "poll", "log-file",
}

// origin is where a value comes from.
type origin struct {
	name  string // "--root", "SREGFS_ROOT", a file, byDefault
	value string
}

const byDefault = "default"

// variable is the name of the key's variable.
func variable(key string) string {
	return cmp.Or(variables[key], "SREGFS_"+strings.ToUpper(strings.ReplaceAll(key, "-", "_")))
}

// resolve gives every setting that no flag sets its value. shared are the flags
// of all verbs, own those of the verb at hand.
func (a *app) resolve(shared, own *pflag.FlagSet) error {
	files, err := configFiles()
	if err != nil {
		return err
	}
	a.set.origins = map[string]origin{}
	var failed error
	visit := func(flag *pflag.Flag) {
		from := originOf(flag, files)
		if from.name != byDefault && from.name != "--"+flag.Name {
			if err := flag.Value.Set(from.value); err != nil {
				failed = usagef("%s: %q is no value for %s: %v", from.name, from.value, flag.Name, err)
			}
		}
		a.set.origins[flag.Name] = from
	}
	shared.VisitAll(func(flag *pflag.Flag) {
		if !slices.Contains(perCall, flag.Name) {
			visit(flag)
		}
	})
	own.VisitAll(func(flag *pflag.Flag) {
		if shared.Lookup(flag.Name) == nil && slices.Contains(configurable, flag.Name) {
			visit(flag)
		}
	})
	a.messageLevel()
	for _, f := range files {
		for _, key := range f.unknown(shared) {
			a.log.Warnf("%s: %q is no setting; 'sregfs config show' lists them", f.path, key)
		}
	}
	if os.Getenv("SREGISTRT_GOOGLE_DRIVE_ROOT") != "" { // so misspelt on the registry tool's page
		a.log.Warn("SREGISTRT_GOOGLE_DRIVE_ROOT is set, and not used: the variable is SREGISTRY_GOOGLE_DRIVE_ROOT")
	}
	if truthy(os.Getenv("SREGISTRY_HTTPS_NOVERIFY")) {
		a.log.Warn("SREGISTRY_HTTPS_NOVERIFY is set, and not followed: a sign-in is never sent to who cannot prove to be Google. Name the certificates of a proxy with SSL_CERT_FILE")
	}
	return failed
}

// messageLevel decides how much is said. MESSAGELEVEL is the registry tool's
// variable for that.
func (a *app) messageLevel() {
	unset := func(key string) bool { return a.set.origins[key].name == byDefault }
	if unset("quiet") && unset("debug") {
		switch strings.ToUpper(os.Getenv("MESSAGELEVEL")) {
		case "QUIET", "CRITICAL", "ABORT", "ERROR":
			a.set.Quiet = true
			a.set.origins["quiet"] = origin{"MESSAGELEVEL", "true"}
		case "DEBUG":
			a.set.Debug = true
			a.set.origins["debug"] = origin{"MESSAGELEVEL", "true"}
		}
	}
	if a.set.Debug {
		a.log.SetLevel(logrus.DebugLevel)
	}
	if a.set.Quiet {
		a.log.SetLevel(logrus.ErrorLevel)
	}
}

func originOf(flag *pflag.Flag, files []configFile) origin {
	if flag.Changed {
		return origin{"--" + flag.Name, flag.Value.String()}
	}
	for _, name := range []string{variable(flag.Name), toolVariables[flag.Name]} {
		if v := os.Getenv(name); name != "" && v != "" {
			return origin{name, v}
		}
		if flag.Name != "credentials" {
			continue
		}
		// The usual forms of a secret: a file that holds it, which is what this setting is anyway, and a command that prints it.
		if v := os.Getenv(name + "_FILE"); v != "" {
			return origin{name + "_FILE", v}
		}
		if v := os.Getenv(name + "_COMMAND"); v != "" {
			return origin{name + "_COMMAND", commandMark + v}
		}
	}
	if flag.Name == "state-dir" && os.Getenv("SREGISTRY_DATABASE") != "" {
		return origin{"SREGISTRY_DATABASE", filepath.Join(os.Getenv("SREGISTRY_DATABASE"), "sregfs")}
	}
	for _, f := range files {
		if v, ok := f.values[flag.Name]; ok && v != "" {
			return origin{f.path, v}
		}
	}
	return origin{byDefault, flag.DefValue}
}

// configFile is a file of settings, as texts by key.
type configFile struct {
	path   string
	tool   bool // the registry tool's
	values map[string]string
}

// unknown lists the keys of the file that mean nothing.
func (f configFile) unknown(shared *pflag.FlagSet) []string {
	var out []string
	for key := range f.values {
		known := shared.Lookup(key) != nil && !slices.Contains(perCall, key) || slices.Contains(configurable, key)
		if !known && !f.tool {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// maxConfig bounds a settings file, in bytes.
const maxConfig = 1 << 20

// userConfig is the person's config file.
func userConfig() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		dir = filepath.Join(home(), ".config")
	}
	return filepath.Join(dir, "sregfs", "config.yaml")
}

// machineConfig is the config file for everybody on this machine.
const machineConfig = "/etc/sregfs/config.yaml"

// configFiles reads the files of settings, the strongest first.
func configFiles() ([]configFile, error) {
	var files []configFile
	for _, path := range []string{userConfig(), machineConfig} {
		text, err := readConfig(path)
		if errors.Is(err, iofs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, localFile(err)
		}
		values, err := parseConfig(text)
		if err != nil {
			return nil, localFile(fmt.Errorf("%s: %w", path, err))
		}
		files = append(files, configFile{path: path, values: values})
	}
	path := toolSettings()
	if text, err := readConfig(path); err == nil {
		files = append(files, configFile{path: path, tool: true, values: parseToolSettings(text)})
	}
	return files, nil
}

func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(text) > maxConfig {
		err = fmt.Errorf("%s has more than %d bytes", path, maxConfig)
	}
	return text, err
}

// parseConfig reads lines "key: value". The value of a key may be any scalar.
func parseConfig(text []byte) (map[string]string, error) {
	var nodes map[string]yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&nodes); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New("it is not YAML of the form \"key: value\"")
	}
	values := map[string]string{}
	for key, node := range nodes {
		if node.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: %s has no plain value", node.Line, key)
		}
		values[strings.ReplaceAll(key, "_", "-")] = node.Value
	}
	return values, nil
}

// parseToolSettings reads the registry tool's settings file: JSON, with an object
// of variables for each of its clients. What is no such file says nothing.
func parseToolSettings(text []byte) map[string]string {
	var clients map[string]json.RawMessage
	values := map[string]string{}
	if json.Unmarshal(text, &clients) != nil {
		return values
	}
	for _, name := range []string{"google-drive", "google_drive"} {
		var vars map[string]json.RawMessage
		if json.Unmarshal(clients[name], &vars) != nil {
			continue
		}
		for key, v := range toolVariables {
			var value string
			if json.Unmarshal(vars[v], &value) == nil && value != "" {
				values[key] = value
			}
		}
	}
	return values
}

// databaseFolder is the registry tool's folder.
func databaseFolder() string {
	return cmp.Or(os.Getenv("SREGISTRY_DATABASE"), filepath.Join(home(), ".singularity"))
}

// toolSettings is the registry tool's settings file.
func toolSettings() string {
	return cmp.Or(os.Getenv("SREGISTRY_CLIENT_SECRETS"), filepath.Join(home(), ".sregistry"))
}

// toolToken is where the registry tool keeps its sign-in: beside its database,
// as its documentation says, or where its code has it.
func toolToken() string {
	path := func(dir string) string { return filepath.Join(dir, ".sregistry", "google-drive") }
	if dir := os.Getenv("SREGISTRY_CREDENTIALS_CACHE"); dir != "" {
		return path(dir)
	}
	documented := path(databaseFolder())
	if _, err := os.Stat(documented); err == nil {
		return documented
	}
	return path(filepath.Join(home(), ".singularity"))
}
