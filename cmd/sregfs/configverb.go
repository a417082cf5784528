package main

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

func (a *app) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config VERB",
		Short: "Show and change the settings",
		Long: `Show and change the settings. A setting has the name of a flag. Its value is that
of the first of these that has one: the flag; the variable SREGFS_NAME; the
registry tool's variable SREGISTRY_…; the config file of the person, and that of
the machine, lines "name: value"; the registry tool's settings file; the default.`,
		Example: "  sregfs config show --origin\n  sregfs config set cache-size 100GB",
	}
	c.AddCommand(a.configShowCommand(), a.configSetCommand(), &cobra.Command{
		Use: "path", Short: "Print where the person's config file is", Args: none, Example: "  sregfs config path",
		Run: func(*cobra.Command, []string) { fmt.Fprintln(a.out, userConfig()) },
	})
	return c
}

func (a *app) configShowCommand() *cobra.Command {
	var withOrigin bool
	c := &cobra.Command{
		Use:     "show",
		Short:   "Print the settings as they are in effect",
		Example: "  sregfs config show --origin\n  sregfs config show --json",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			type row struct {
				Key    string `json:"key"`
				Value  string `json:"value"`
				Origin string `json:"origin"`
			}
			// The settings of a mount are shown as well.
			a.mountSettings(cmd)
			rows := []row{}
			for _, key := range slices.Sorted(maps.Keys(a.set.origins)) {
				from := a.set.origins[key]
				value := from.value
				if flag := cmd.Flags().Lookup(key); flag != nil {
					value = flag.Value.String() // complete, as check left it
				}
				rows = append(rows, row{key, value, from.name})
			}
			if a.set.JSON {
				return a.printJSON(rows, "")
			}
			for _, r := range rows {
				line := r.Key + ": " + r.Value
				if withOrigin {
					line = fmt.Sprintf("%-50s # %s", line, r.Origin)
				}
				fmt.Fprintln(a.out, printable(strings.TrimRight(line, " ")))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&withOrigin, "origin", false, "say where each value comes from")
	return c
}

// mountSettings adds where the settings of mount come from.
func (a *app) mountSettings(cmd *cobra.Command) {
	mount, _, err := cmd.Root().Find([]string{"mount"})
	if err != nil {
		return
	}
	files, err := configFiles()
	if err != nil {
		return // resolve said so before
	}
	for _, key := range configurable {
		if flag := mount.Flags().Lookup(key); flag != nil {
			a.set.origins[key] = originOf(flag, files)
		}
	}
}

func (a *app) configSetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set NAME VALUE",
		Short: "Write a setting into the person's config file",
		Long: `Write a setting into the person's config file; an empty VALUE takes it out. What
else the file holds stays, comments too.`,
		Example: "  sregfs config set root my-registry",
		Args:    cobra.ExactArgs(2), // VALUE may be empty
		RunE: func(cmd *cobra.Command, args []string) error {
			mount, _, err := cmd.Root().Find([]string{"mount"})
			if err != nil {
				return err
			}
			key := args[0]
			flag := cmd.Root().PersistentFlags().Lookup(key)
			if flag == nil && slices.Contains(configurable, key) {
				flag = mount.Flags().Lookup(key)
			}
			if flag == nil || slices.Contains(perCall, key) {
				return usagef("%q is no setting; 'sregfs config show' lists them", key)
			}
			if args[1] != "" {
				if err := flag.Value.Set(args[1]); err != nil {
					return usagef("%q is no value for %s: %v", args[1], key, err)
				}
			}
			return localFile(writeSetting(userConfig(), key, args[1]))
		},
	}
}

// writeSetting changes one line of the config file at path.
func writeSetting(path, key, value string) error {
	text, err := readConfig(path)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("%s: it is not YAML of the form \"key: value\"", path)
	}
	if len(doc.Content) == 0 {
		doc = yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.MappingNode}}}
	}
	lines := doc.Content[0]
	if lines.Kind != yaml.MappingNode {
		return fmt.Errorf("%s: it is not YAML of the form \"key: value\"", path)
	}
	at := -1
	for i := 0; i+1 < len(lines.Content); i += 2 {
		if strings.ReplaceAll(lines.Content[i].Value, "_", "-") == key {
			at = i
		}
	}
	switch {
	case at >= 0 && value == "":
		lines.Content = slices.Delete(lines.Content, at, at+2)
	case at >= 0:
		lines.Content[at+1].SetString(value)
	case value != "":
		k, v := &yaml.Node{}, &yaml.Node{}
		k.SetString(key)
		v.SetString(value)
		lines.Content = append(lines.Content, k, v)
	}
	out := []byte{}
	if len(lines.Content) > 0 {
		if out, err = yaml.Marshal(&doc); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, out, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
