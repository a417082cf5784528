package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"sregfs/index"
	"sregfs/index/image"
)

// imported is what import did.
type imported struct {
	Settings map[string]string `json:"settings"` // written to the config file
	Token    string            `json:"token"`    // the registry tool's sign-in, "" if there is none
	Images   []string          `json:"images"`   // that images and get find now
	Skipped  []string          `json:"skipped"`  // whose files are gone
}

func (a *app) importCommand() *cobra.Command {
	var database string
	c := &cobra.Command{
		Use:   "import",
		Short: "Take over what the registry tool has on this machine",
		Long: `Take over what the Python tool sregistry has on this machine: the settings in its
settings file, its sign-in, and from its database the images it pulled and the
records it made. Images stay where they are; the storage gets links to those that
lie elsewhere. Nothing of that tool's is changed, and to import again does no
harm.`,
		Example: "  sregfs import\n  sregfs import --database /data/sregistry.db",
		Args:    none,
		RunE: func(*cobra.Command, []string) error {
			out := imported{Settings: map[string]string{}, Images: []string{}, Skipped: []string{}}
			if err := a.importSettings(&out); err != nil {
				return err
			}
			if _, err := os.Stat(a.set.Import); err == nil {
				out.Token = a.set.Import
			}
			path := database
			if path == "" {
				path = filepath.Join(databaseFolder(), "sregistry.db")
			}
			err := a.importDatabase(path, &out)
			if err != nil && (database != "" || !errors.Is(err, iofs.ErrNotExist)) {
				return localFile(fmt.Errorf("import %s: %w", path, err))
			}
			if a.set.JSON {
				return a.printJSON(out, "")
			}
			for key, value := range out.Settings {
				a.say("[setting] %s: %s", key, value)
			}
			if out.Token != "" {
				a.say("[sign-in] %s is used while there is no sign-in of sregfs's own", out.Token)
			}
			for _, uri := range out.Images {
				a.say("[container][new] %s", uri)
			}
			for _, text := range out.Skipped {
				a.log.Warnf("not imported: %s", text)
			}
			a.say("%s imported.", english.Plural(len(out.Images), "image", ""))
			return nil
		},
	}
	c.Flags().StringVar(&database, "database", "", "the tool's database (default: sregistry.db in SREGISTRY_DATABASE, or in ~/.singularity)")
	return c
}

// importSettings writes what only the tool's settings file says into ours.
func (a *app) importSettings(out *imported) error {
	files, err := configFiles()
	if err != nil {
		return err
	}
	tool, mine := map[string]string{}, map[string]string{}
	for _, f := range files {
		switch {
		case f.tool:
			tool = f.values
		case f.path == userConfig():
			mine = f.values
		}
	}
	for key, value := range tool {
		if mine[key] != "" {
			continue
		}
		if err := writeSetting(userConfig(), key, value); err != nil {
			return localFile(err)
		}
		out.Settings[key] = value
	}
	return nil
}

// importDatabase takes the images over that the tool's database knows.
func (a *app) importDatabase(path string, out *imported) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	for _, side := range []string{"-wal", "-journal"} {
		if log, err := os.Stat(path + side); err == nil && log.Size() > 0 {
			return fmt.Errorf("it is in use, or was left by a crash: %s%s is not empty; run the registry tool once, then import", path, side)
		}
	}
	db, err := openSQLite(f, fi.Size())
	if err != nil {
		return err
	}
	collections := map[any]string{}
	if err := db.table("collection", func(row map[string]any) { collections[row["id"]], _ = row["name"].(string) }); err != nil {
		return err
	}
	var failed error
	err = db.table("container", func(row map[string]any) {
		if err := a.importRow(row, collections, out); err != nil {
			failed = errors.Join(failed, err)
		}
	})
	return errors.Join(err, failed)
}

// importRow takes one container over: its file, or the record of it.
func (a *app) importRow(row map[string]any, collections map[any]string, out *imported) error {
	text := func(key string) string { s, _ := row[key].(string); return s }
	id := image.Identify(text("uri"), map[string]string{
		"collection": collections[row["collection_id"]], "image": text("name"), "tag": text("tag"), "version": text("version"), "uri": text("uri"),
	})
	file := text("image")
	if file == "" {
		file := driveID(text("client"), text("metrics"))
		if file == "" {
			return nil // a record of another registry
		}
		isNew, err := a.record(index.Image{File: file})
		if isNew {
			out.Images = append(out.Images, id.String())
		}
		return err
	}
	if !isFile(file) {
		out.Skipped = append(out.Skipped, fmt.Sprintf("%s: its file %s is not there", id, file))
		return nil
	}
	if c, ok := a.copyAt(file); ok && strings.HasPrefix(file, a.set.Storage+"/") && c.Fold() == id.Fold() {
		return nil // the storage has it, under its name
	}
	_, ext := image.SplitExt(file)
	place := a.stored(index.Image{Ref: id.Ref, Ext: cmp.Or(ext, ".sif")})
	if _, err := os.Lstat(place); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return err
	}
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	if err := os.Symlink(file, place); err != nil {
		return err
	}
	out.Images = append(out.Images, id.String())
	return nil
}

// driveID is the Drive id in the metrics that the tool's Drive client keeps, ""
// if there is none.
func driveID(client, metrics string) string {
	var m struct {
		ID string `json:"id"`
	}
	if strings.ReplaceAll(client, "_", "-") != "google-drive" || json.Unmarshal([]byte(metrics), &m) != nil {
		return ""
	}
	return m.ID
}

func isFile(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}
