package index

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
)

func sampleFile() drive.File {
	return drive.File{
		ID: "1abc", Name: "c/i:t@v.sif", MimeType: drive.ImageType, Description: "{}", Parents: []string{"root"}, Size: 42,
		MD5: strings.Repeat("a", 32), SHA256: strings.Repeat("b", 64), HeadRevision: "r1", Version: 7,
		Properties: map[string]string{"type": "container", "collection": "c"},
		Created:    time.UnixMilli(1514764800123).UTC(), Modified: time.UnixMilli(1514764800456).UTC(),
		Owner: "ann@uni.edu", OwnedByMe: true, CanEdit: true,
	}
}

func TestFileRecordKeepsWhatCounts(t *testing.T) {
	f := sampleFile()
	rec := newFileRecord(&f)
	b := rec.encode()
	got, err := decodeFile(b)
	require.NoError(t, err)
	require.Equal(t, f, *got.file())

	for n := range b {
		_, err := decodeFile(b[:n])
		require.ErrorIs(t, err, ErrCorrupt, "cut after %d bytes", n)
	}
	_, err = decodeFile(append(b, 0))
	require.ErrorIs(t, err, ErrCorrupt)

	f.Description = strings.Repeat("x", maxDescription+1)
	rec = newFileRecord(&f)
	require.Empty(t, rec.Desc, "a description beyond all bounds is not ours")
	require.Zero(t, fromMillis(millis(time.Time{})))
}

// What releases before wrote is read, and what is the same in both forms is one image.
func TestFileRecordInJSON(t *testing.T) {
	f := sampleFile()
	rec := newFileRecord(&f)
	rec.V = recordVersion
	b, err := json.Marshal(rec)
	require.NoError(t, err)
	got, err := decodeFile(b)
	require.NoError(t, err)
	require.Equal(t, f, *got.file())
	require.Equal(t, rec.encode(), got.encode())
}

func TestRecordsOfOtherVersionsAreRefused(t *testing.T) {
	for _, text := range []string{"", "{}", `{"v":2,"id":"x","path":"x"}`, `{"v":1,"id":"","path":"x"} `, "null", "[]", `{"v":1,"id":"x","s":-1,"path":""}`} {
		_, err := decodeFile([]byte(text))
		require.ErrorIs(t, err, ErrCorrupt, text)
	}
	for _, text := range []string{"", "{}", `{"v":2,"path":"x"}`, `{"v":1}`, "null"} {
		_, err := decodeDir([]byte(text))
		require.ErrorIs(t, err, ErrCorrupt, text)
	}
	for _, text := range []string{"", "{}", `{"v":2}`, "null"} {
		_, err := decodeRoot([]byte(text))
		require.ErrorIs(t, err, ErrCorrupt, text)
		_, err = decodeAbout([]byte(text))
		require.ErrorIs(t, err, ErrCorrupt, text)
	}
}

func FuzzFileRecord(f *testing.F) {
	sample := sampleFile()
	rec := newFileRecord(&sample)
	f.Add(rec.encode())
	f.Add([]byte(`{"v":1,"id":"x","n":"\u0000","a":{"type":"container","collection":"..","image":"/"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeFile(b)
		if err != nil {
			return
		}
		back, err := decodeFile(r.encode())
		require.NoError(t, err)
		require.Equal(t, r, back)
		// Whatever a record says, the tree takes it, lists it and lets go of it.
		r.Properties = map[string]string{"type": "container", "collection": r.Name, "image": r.Desc, "tag": r.Owner}
		r.Mime = drive.ImageType
		img, err := imageOf(r.file(), "root")
		if err != nil {
			return
		}
		c := newCatalog()
		c.put(r.ID, img.compact())
		tag := c.tag(img.Space, img.Ref)
		require.NotNil(t, tag)
		require.Len(t, tag.versions(), 1)
		require.Len(t, c.spaces[img.Space].find(img.Collection).list().Tags, 1)
		c.put(r.ID, nil)
		require.Nil(t, c.tag(img.Space, img.Ref))
		require.True(t, c.spaces[""].empty())
	})
}

func FuzzSmallRecords(f *testing.F) {
	f.Add([]byte(`{"v":1,"path":"lab/tool:1.0","made":1514764800123}`))
	f.Add([]byte(`{"v":1,"name":"sregistry","id":"x","account":"ann@uni.edu"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeDir(b); err == nil {
			c := newCatalog()
			c.addDir(r)
			require.NotPanics(t, func() { _ = c.spaces[""].list() })
		}
		_, _ = decodeRoot(b)
		_, _ = decodeAbout(b)
	})
}
