package drivetest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDirectAccess(t *testing.T) {
	s := NewServer(t, Options{})
	ann := s.User("")
	require.Equal(t, DefaultUser, ann.Email())
	folder, err := ann.Put(File{Name: "reg", MimeType: folderType}, nil)
	require.NoError(t, err)
	created := time.Date(2018, 1, 2, 3, 4, 5, 0, time.UTC)
	f, err := ann.Put(File{
		Name: "a", Parents: []string{folder.ID}, Properties: map[string]string{"a": "1", "b": "2"}, Description: "d",
		Created: created, Modified: created, Trashed: true,
	}, strings.NewReader("abc"))
	require.NoError(t, err)
	require.Equal(t, created, f.Created)
	require.Equal(t, created, f.Modified)
	require.True(t, f.Trashed)
	require.EqualValues(t, 3, f.Size)
	require.Equal(t, "900150983cd24fb0d6963f7d28e17f72", f.MD5)
	require.Equal(t, []string{folder.ID}, f.Parents)
	require.Equal(t, []Permission{{f.Permissions[0].ID, "user", "owner", "ann@uni.edu"}}, f.Permissions)
	require.Len(t, ann.Files(), 2)

	require.NoError(t, ann.Patch(f.ID, func(f *File) {
		f.Name, f.Trashed, f.Description = "b", false, ""
		f.Properties["a"] = "one"
		delete(f.Properties, "b")
		f.Parents = []string{"root"}
	}))
	got, ok := ann.File(f.ID)
	require.True(t, ok)
	root, ok := ann.File("root")
	require.True(t, ok)
	require.Equal(t, map[string]string{"a": "one"}, got.Properties)
	require.Equal(t, "b", got.Name)
	require.Empty(t, got.Description)
	require.False(t, got.Trashed)
	require.Equal(t, []string{root.ID}, got.Parents)

	_, err = ann.Put(File{Name: "x", Properties: map[string]string{"k": strings.Repeat("x", 124)}}, nil)
	require.Error(t, err, "the rules are the same")
	_, ok = s.User("bob@uni.edu").File(f.ID)
	require.False(t, ok)
	require.Error(t, s.User("bob@uni.edu").Delete(f.ID))
	require.Error(t, ann.Patch("nothing", func(*File) {}))
	require.NoError(t, ann.Delete(f.ID))
	require.Len(t, ann.Files(), 1)
}
