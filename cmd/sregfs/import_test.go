package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// toolDatabase makes a database as the registry tool makes it, with SQLite itself.
const toolDatabase = `
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute('PRAGMA page_size=%s' % sys.argv[3])
db.executescript('''
CREATE TABLE collection (
	id INTEGER NOT NULL, 
	name VARCHAR(50), 
	token VARCHAR(50), 
	created_at DATETIME, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
CREATE TABLE container (
	id INTEGER NOT NULL, 
	metrics VARCHAR(500), 
	name VARCHAR(250), 
	"tag" VARCHAR(250), 
	image VARCHAR(250), 
	url VARCHAR(500), 
	uri VARCHAR(500), 
	client VARCHAR(50), 
	version VARCHAR(250), 
	created_at DATETIME, 
	collection_id INTEGER, 
	PRIMARY KEY (id), 
	CONSTRAINT _container_name_uri_uc UNIQUE (collection_id, name, tag, client, version), 
	FOREIGN KEY(collection_id) REFERENCES collection (id)
);
''')
collections = {}
for row in json.load(open(sys.argv[2])):
    c = row.pop('collection')
    if c not in collections:
        collections[c] = db.execute('INSERT INTO collection (name) VALUES (?)', (c,)).lastrowid
    row['collection_id'] = collections[c]
    db.execute('INSERT INTO container (%s) VALUES (%s)' % (', '.join(row), ', '.join('?' * len(row))), list(row.values()))
db.commit()
`

func makeToolDatabase(t *testing.T, w *world, path string, pageSize int, rows []map[string]any) {
	t.Helper()
	text, err := json.Marshal(rows)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", w.file("make.py", []byte(toolDatabase)), path, w.file("rows.json", text), fmt.Sprint(pageSize)).CombinedOutput()
	require.NoError(t, err, string(out))
}

// What the registry tool has on a machine is taken over, and left as it is.
func TestImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	home := w.path("home", "ann@uni.edu")
	secrets := w.path("users", "ann@uni.edu", "client_secrets.json")
	remote := indextest.Put(t, w.srv.User("ann@uni.edu"), "lab/far:1", imagetest.SIF(t, 200_000), nil)
	require.NoError(t, os.MkdirAll(home, 0o755))
	settings := []byte(`{"google-drive":{"SREGISTRY_GOOGLE_DRIVE_CREDENTIALS":"` + secrets + `"}}`)
	require.NoError(t, os.WriteFile(filepath.Join(home, ".sregistry"), settings, 0o600))
	old := w.file("old.simg", imagetest.Simg(t, 300_000))
	flat := filepath.Join(home, ".singularity", "shub", "lab-flat-1@"+strings.Repeat("b", 32)+".simg")
	require.NoError(t, os.MkdirAll(filepath.Dir(flat), 0o755))
	require.NoError(t, os.WriteFile(flat, imagetest.Simg(t, 100_000), 0o755))
	rows := []map[string]any{
		{"collection": "vsoch", "name": "hello-world", "tag": "latest", "version": strings.Repeat("a", 32), "client": "google-drive", "uri": "vsoch/hello-world:latest", "image": old, "metrics": "{}"},
		{"collection": "lab", "name": "flat", "tag": "1", "version": strings.Repeat("b", 32), "client": "hub", "uri": "lab/flat:1", "image": flat},
		{"collection": "lab", "name": "far", "tag": "1", "client": "google-drive", "uri": "lab/far:1", "metrics": `{"id":"` + remote.ID + `","more":"` + strings.Repeat("m", 9000) + `"}`},
		{"collection": "lab", "name": "gone", "tag": "1", "version": "v", "client": "google-drive", "uri": "lab/gone:1", "image": "/no/such/file.simg"},
	}
	for i := range 500 { // several levels of pages
		rows = append(rows, map[string]any{"collection": "hub", "name": fmt.Sprintf("other-%d", i), "tag": "1", "version": "v", "client": "hub", "uri": "hub/other:1", "metrics": strings.Repeat("x", 300)})
	}
	database := filepath.Join(home, ".singularity", "sregistry.db")
	makeToolDatabase(t, w, database, 1024, rows)
	before, err := os.ReadFile(database)
	require.NoError(t, err)

	ann := w.as("ann@uni.edu", "SREGISTRY_GOOGLE_DRIVE_CREDENTIALS=")
	var did imported
	require.NoError(t, json.Unmarshal([]byte(ann.sregfs("--json", "import").ok(t)), &did))
	require.Equal(t, map[string]string{"credentials": secrets}, did.Settings)
	require.ElementsMatch(t, []string{"vsoch/hello-world:latest@" + strings.Repeat("a", 32), "lab/flat:1@" + strings.Repeat("b", 32), "lab/far:1"}, did.Images)
	require.Len(t, did.Skipped, 1)
	require.Contains(t, did.Skipped[0], "lab/gone")

	require.Equal(t, old+"\n", ann.sregfs("get", "vsoch/hello-world").ok(t))
	require.Equal(t, flat+"\n", ann.sregfs("get", "lab/flat:1").ok(t))
	ann.sregfs("search").ok(t) // with the tool's credentials
	list := ann.sregfs("images").ok(t)
	require.Equal(t, 4, strings.Count(list, "\n")-2, list) // a heading, two here, one recorded
	require.Contains(t, list, "remote\t   [google-drive]\tlab/far:1")
	require.NotContains(t, list, "library/", "what is linked is not listed twice")

	again := ann.sregfs("import").ok(t)
	require.Contains(t, again, "0 images imported.")
	after, err := os.ReadFile(database)
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after))
	now, err := os.ReadFile(filepath.Join(home, ".sregistry"))
	require.NoError(t, err)
	require.Equal(t, settings, now)

	t.Run("nothing to import", func(t *testing.T) {
		require.Contains(t, w.as("bob@uni.edu").sregfs("import").ok(t), "0 images imported.")
	})
	t.Run("bad databases", func(t *testing.T) {
		oneLine(t, ann.sregfs("-q", "import", "--database", w.path("none.db")), exitError, "none.db does not exist")
		oneLine(t, ann.sregfs("-q", "import", "--database", w.file("text.db", []byte("hello"))), exitError, "no SQLite database")
		oneLine(t, ann.sregfs("-q", "import", "--database", w.file("half.db", before[:len(before)/2])), exitError, "half.db")
		oneLine(t, ann.sregfs("-q", "import", "--database", w.dir), exitError, w.dir)
		w.file("busy.db", before)
		w.file("busy.db-journal", []byte("x"))
		oneLine(t, ann.sregfs("-q", "import", "--database", w.path("busy.db")), exitError, "busy.db-journal")
	})
}

// Whatever a database holds, reading it ends, within bounds.
func FuzzSQLite(f *testing.F) {
	w := &world{t: f, dir: f.TempDir()}
	path := w.path("seed.db")
	for _, page := range []string{"512", "4096"} {
		_ = os.Remove(path)
		rows := w.file("rows.json", []byte(`[{"collection":"c","name":"n","metrics":"`+strings.Repeat("m", 3000)+`"}]`))
		if out, err := exec.CommandContext(f.Context(), "/usr/bin/python3", w.file("make.py", []byte(toolDatabase)), path, rows, page).CombinedOutput(); err != nil {
			f.Skipf("no python3 with sqlite3: %v: %s", err, out)
		}
		seed, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<20 {
			return
		}
		db, err := openSQLite(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, table := range []string{"collection", "container"} {
			_ = db.table(table, func(row map[string]any) { require.NotNil(t, row["id"]) })
		}
	})
}
