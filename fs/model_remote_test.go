package fs_test

import (
	"bytes"
	"slices"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
	"sregfs/index/image"
	"sregfs/index/indextest"
)

// What other clients, and people in a browser, do.

// behind does something to one of the owner's files that want says yes to.
func (w *world) behind(what string, want func(drivetest.File) bool, do func(drivetest.File)) {
	var files []drivetest.File
	for _, f := range w.ann.Files() {
		if _, ok := fileOf(f); ok && want(f) {
			files = append(files, f)
		}
	}
	f := pick(w, what, files)
	w.log("behind their backs: %s of %s (%s)", what, f.Name, f.ID)
	do(f)
	w.happened()
}

func (w *world) listed(f drivetest.File) bool {
	return !f.Trashed && slices.Contains(f.Parents, w.root)
}

func (w *world) patch(f drivetest.File, edit func(*drivetest.File)) {
	require.NoError(w.t, w.ann.Patch(f.ID, edit))
}

func (w *world) put(tag, sum string) {
	w.log("behind their backs: %s becomes %s", tag, sum)
	indextest.Put(w.t, w.ann, tag, w.bytes(sum), nil)
	w.happened()
}

func (w *world) remotePut()       { w.put(w.anyTag("tag"), w.content()) }
func (w *world) remoteVersion()   { w.put(w.taken().tag, w.content()) }
func (w *world) remoteDuplicate() { f := w.taken(); w.put(f.tag, f.sum) }

// remoteByHand uploads a file in the browser: no properties but the one that makes it an image.
func (w *world) remoteByHand() {
	name, sum := pick(w, "name", []string{"hand.sif", "by hand.img", "c/x:1.sif", "c/x:1@" + md5sum(nil) + ".sif"}), w.content()
	w.log("behind their backs: %q is put there by hand", name)
	indextest.PutRaw(w.t, w.ann, drivetest.File{Name: name, Properties: map[string]string{"type": "container"}}, w.bytes(sum))
	w.happened()
}

func (w *world) remoteRetag() {
	to := w.anyTag("to")
	w.behind("retag to "+to, w.listed, func(f drivetest.File) {
		ref, err := image.Parse(to)
		require.NoError(w.t, err)
		ref.Version = image.Identify(f.Name, f.Properties).Version
		p, err := image.Retag(f.Properties, ref, ".sif")
		require.NoError(w.t, err)
		w.patch(f, func(f *drivetest.File) {
			f.Name = p.Name
			for k, v := range p.Properties {
				if v == nil {
					delete(f.Properties, k)
				} else {
					f.Properties[k] = *v
				}
			}
		})
	})
}

func (w *world) remoteTrash() {
	w.behind("trash", w.listed, func(f drivetest.File) { w.patch(f, func(f *drivetest.File) { f.Trashed = true }) })
}

func (w *world) remoteRestore() {
	w.behind("restore", func(f drivetest.File) bool { return f.Trashed }, func(f drivetest.File) {
		w.patch(f, func(f *drivetest.File) { f.Trashed = false })
	})
}

func (w *world) remoteDelete() {
	all := func(drivetest.File) bool { return true }
	w.behind("delete", all, func(f drivetest.File) { require.NoError(w.t, w.ann.Delete(f.ID)) })
}

// remoteMove moves a file out of the registry's folder, or back.
func (w *world) remoteMove() {
	w.behind("move", func(f drivetest.File) bool { return !f.Trashed }, func(f drivetest.File) {
		to := w.root
		if slices.Contains(f.Parents, w.root) {
			to = w.elsewhere
		}
		w.patch(f, func(f *drivetest.File) { f.Parents = []string{to} })
	})
}

// remoteReplace gives a file other content. Its name and its property version stay.
func (w *world) remoteReplace() {
	sum := w.content()
	w.behind("replace", w.listed, func(f drivetest.File) {
		require.NoError(w.t, w.ann.Replace(f.ID, bytes.NewReader(w.bytes(sum))))
	})
}

func (w *world) remoteLabel() {
	w.behind("label", w.listed, func(f drivetest.File) {
		w.patch(f, func(f *drivetest.File) { f.Properties[theLabel] = "from elsewhere" })
	})
}

func (w *world) remoteShare() {
	w.behind("share", w.listed, func(f drivetest.File) {
		_, err := w.client.Share(w.t.Context(), f.ID, drive.Invite{Email: sharee, Role: "reader"})
		require.NoError(w.t, err)
	})
}

func (w *world) remoteUnshare() {
	w.behind("unshare", func(f drivetest.File) bool { m, _ := fileOf(f); return m.shared }, func(f drivetest.File) {
		i := slices.IndexFunc(f.Permissions, func(p drivetest.Permission) bool { return p.Email == sharee })
		require.NoError(w.t, w.client.Unshare(w.t.Context(), f.ID, f.Permissions[i].ID))
	})
}
