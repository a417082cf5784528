package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
	"sregfs/index"
	"sregfs/index/image/imagetest"
	"sregfs/index/indextest"
)

// TestFsckAgainstDrive changes on Drive what the changes feed never tells, and has it found and taken over.
func TestFsckAgainstDrive(t *testing.T) {
	t.Parallel()
	for _, mounted := range []bool{false, true} {
		t.Run(map[bool]string{false: "without a mount", true: "through a mount"}[mounted], func(t *testing.T) {
			t.Parallel()
			w := newWorldIn(t, drivetest.Options{
				Users: []string{"ann@uni.edu", "bob@uni.edu"}, Quirks: drivetest.Quirks{ChangesLag: time.Hour},
			})
			ann, user, bob := w.as("ann@uni.edu"), w.srv.User("ann@uni.edu"), w.srv.User("bob@uni.edu")
			content := imagetest.SIF(t, 1<<20)
			images := map[string]drivetest.File{}
			for _, name := range []string{"stays", "trashed", "deleted", "moved", "renamed", "labelled", "replaced"} {
				images[name] = indextest.Put(t, user, "lab/"+name+":1", append(content, name...), nil)
			}
			his := indextest.Put(t, bob, "lab/his:1", content, nil)
			elsewhere := indextest.PutRaw(t, user, drivetest.File{Name: "elsewhere", MimeType: drive.FolderType, Parents: []string{"root"}}, nil)
			if mounted {
				ann.mount()
			} else {
				ann.sregfs("images").ok(t)
			}
			require.Empty(t, report(t, ann, exitOK).Problems)

			patch := func(id string, edit func(f *drivetest.File)) {
				t.Helper()
				require.NoError(t, user.Patch(id, edit))
			}
			cases := []struct {
				what, id string
				kind     index.ProblemKind
				change   func(id string)
			}{
				{"another client's image", "", index.ProblemMissing, nil},
				{"in the bin", images["trashed"].ID, index.ProblemGone, func(id string) { patch(id, func(f *drivetest.File) { f.Trashed = true }) }},
				{"deleted", images["deleted"].ID, index.ProblemGone, func(id string) { require.NoError(t, user.Delete(id)) }},
				{"moved out of the folder", images["moved"].ID, index.ProblemGone, func(id string) {
					patch(id, func(f *drivetest.File) { f.Parents = []string{elsewhere.ID} })
				}},
				{"retagged", images["renamed"].ID, index.ProblemMissing, func(id string) {
					patch(id, func(f *drivetest.File) { f.Properties["tag"], f.Properties["uri"] = "2", "lab/renamed:2" })
				}},
				{"labelled", images["labelled"].ID, index.ProblemMissing, func(id string) {
					patch(id, func(f *drivetest.File) { f.Properties["note"] = "new" })
				}},
				{"other content", images["replaced"].ID, index.ProblemMissing, func(id string) {
					require.NoError(t, user.Replace(id, bytes.NewReader(append(content, "replaced again"...))))
				}},
				{"shared with me", his.ID, index.ProblemMissing, func(id string) {
					_, err := indextest.Client(t, w.srv, bob).Share(t.Context(), id, drive.Invite{Email: "ann@uni.edu", Role: "reader"})
					require.NoError(t, err)
				}},
			}
			for _, tt := range cases {
				t.Run(tt.what, func(t *testing.T) {
					id := tt.id
					if id == "" {
						id = indextest.Put(t, user, "lab/theirs:1", append(content, "theirs"...), nil).ID
					} else {
						tt.change(id)
					}
					r := report(t, ann, exitOK, "--offline")
					require.Empty(t, damage(r))
					require.False(t, r.Remote)
					r = report(t, ann, exitIntegrity)
					require.True(t, r.Remote)
					require.Equal(t, 1, r.Remaining, r.Problems)
					found := damage(r)
					require.Len(t, found, 1)
					require.Equal(t, tt.kind, found[0].Kind)
					require.Equal(t, id, found[0].Subject)
					require.Empty(t, found[0].Repaired)

					before := user.Files()
					r = report(t, ann, exitOK, "--repair")
					found = damage(r)
					require.Len(t, found, 1)
					require.Equal(t, tt.kind, found[0].Kind)
					require.Equal(t, "recorded as it is on Drive", found[0].Repaired)
					require.Equal(t, before, user.Files(), "nothing is changed on Drive")
					r = report(t, ann, exitOK)
					require.Empty(t, damage(r))
					require.Equal(t, r.Listed, r.Images)
				})
			}
			listed := ann.sregfs("search").ok(t)
			for _, name := range []string{"lab/stays:1", "lab/renamed:2", "lab/theirs:1", "lab/his:1"} {
				require.Contains(t, listed, name)
			}
			for _, name := range []string{"lab/trashed", "lab/deleted", "lab/moved", "lab/renamed:1"} {
				require.NotContains(t, listed, name)
			}

			t.Run("notes", func(t *testing.T) {
				twin := indextest.Put(t, user, "lab/stays:1", append(content, "stays"...), nil)
				other := indextest.PutRaw(t, user, drivetest.File{Name: index.DefaultRoot, MimeType: drive.FolderType, Parents: []string{"root"}}, nil)
				report(t, ann, exitOK, "--repair")
				r := report(t, ann, exitOK)
				kinds := map[index.ProblemKind]index.Problem{}
				for _, p := range r.Problems {
					require.True(t, p.Note, p)
					kinds[p.Kind] = p
				}
				require.Contains(t, kinds[index.ProblemDuplicate].Text, twin.ID)
				require.Contains(t, kinds[index.ProblemDuplicate].Text, images["stays"].ID)
				require.Equal(t, images["replaced"].ID, kinds[index.ProblemMetadata].Subject)
				require.Contains(t, kinds[index.ProblemRoot].Text, other.ID)
				people := ann.sregfs("fsck")
				require.Contains(t, people.ok(t), "note      duplicate")
				require.Contains(t, people.out, "0 problems, 0 repaired, 3 notes")
			})
			t.Run("JSON", func(t *testing.T) {
				out := ann.sregfs("fsck", "--json").ok(t)
				var r map[string]json.RawMessage
				require.NoError(t, json.Unmarshal([]byte(out), &r))
				require.Equal(t, []string{
					"blocks", "bytes", "drafts", "images", "listed", "problems", "records", "remaining", "remote", "repair", "stateDir", "v",
				}, slices.Sorted(maps.Keys(r)))
				var problems []map[string]any
				require.NoError(t, json.Unmarshal(r["problems"], &problems))
				for _, p := range problems {
					require.Equal(t, []string{"kind", "note", "subject", "text"}, slices.Sorted(maps.Keys(p)))
				}
			})
			t.Run("the folder is in the bin", func(t *testing.T) {
				root := images["stays"].Parents[0]
				patch(root, func(f *drivetest.File) { f.Trashed = true })
				for _, args := range [][]string{nil, {"--repair"}} {
					r := report(t, ann, exitIntegrity, args...)
					require.Equal(t, index.ProblemRoot, damage(r)[0].Kind)
					require.Contains(t, damage(r)[0].Text, "bin")
					require.False(t, r.Remote)
					require.NotEmpty(t, r.DriveError)
					require.NotZero(t, r.Images, "what is known is kept")
				}
				patch(root, func(f *drivetest.File) { f.Trashed = false })
				report(t, ann, exitOK, "--repair")
				require.Empty(t, damage(report(t, ann, exitOK)))
			})
		})
	}
}

// damage are the problems of a report that are more than notes.
func damage(r index.CheckReport) (found []index.Problem) {
	for _, p := range r.Problems {
		if !p.Note {
			found = append(found, p)
		}
	}
	return found
}
