package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"sregfs/index"
)

func (a *app) fsckCommand() *cobra.Command {
	var o index.CheckOptions
	c := &cobra.Command{
		Use:   "fsck",
		Short: "Compare Drive, the index and the disk, and repair what is on this machine",
		Long: `Compare what Drive holds, what the index says and what is on the disk: records,
images, drafts and pushes, and every cached block with its checksum.

A problem is a line. With --repair what is on this machine is put right: records
are made to agree with Drive, and an index that cannot be read is set aside and
made anew. Nothing is changed on Drive, and no draft is removed. Cached blocks
that are damaged are forgotten, with or without --repair, and are fetched again.
A note is worth knowing and is no damage: two files of one name on Drive, say.

With a mount, the mount does the work. Exit code 0: no damage is left; 7: some
is; 10: this machine is in order, and Drive could not be compared with.

--json prints one object: v (1, the version of this form), stateDir, remote
(Drive was asked, and answered), repair, records, images, listed, drafts, blocks,
bytes (how much was looked at), remaining (damage that is left), driveError, and
problems, each with kind (index, record, root, missing, gone, duplicate,
metadata, draft, cache, stray, space), subject, text, repaired (what was done),
note.`,
		Example: "  sregfs fsck\n  sregfs fsck --repair\n  sregfs fsck --offline --json",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.fsck(cmd.Context(), o)
			if err != nil {
				return err
			}
			if a.set.JSON {
				if err := a.printJSON(r, ""); err != nil {
					return err
				}
			} else {
				a.printCheck(r)
			}
			switch {
			case r.Remaining > 0 && !o.Repair:
				return &codedError{fmt.Sprintf("%s; 'sregfs fsck --repair' repairs what is on this machine", remains(r)), exitIntegrity}
			case r.Remaining > 0:
				return &codedError{remains(r), exitIntegrity}
			case r.DriveError != "":
				return &codedError{"Drive was not compared with: " + r.DriveError, exitNetwork}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&o.Repair, "repair", false, "put right what is on this machine")
	c.Flags().BoolVar(&o.Offline, "offline", false, "do not ask Drive")
	return c
}

func remains(r index.CheckReport) string {
	return english.Plural(r.Remaining, "problem remains", "problems remain")
}

// fsck checks, and first sets an index aside that cannot be read, if that is
// to be repaired.
func (a *app) fsck(ctx context.Context, o index.CheckOptions) (r index.CheckReport, err error) {
	u, err := a.openUpkeep(ctx, o.Offline)
	var broken *index.Problem
	if errors.Is(err, index.ErrCorrupt) {
		broken = &index.Problem{Kind: index.ProblemIndex, Subject: a.set.State, Text: err.Error()}
		if !o.Repair {
			return index.CheckReport{V: 1, StateDir: a.set.State, Problems: []index.Problem{*broken}, Remaining: 1}, nil
		}
		var to string
		if to, err = index.SetAside(a.set.State); err != nil {
			return r, err
		}
		broken.Repaired = "set aside as " + to + ", and made anew"
		u, err = a.openUpkeep(ctx, o.Offline)
	}
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, u.Close()) }()
	if r, err = u.Check(ctx, o); broken != nil {
		r.Problems = append([]index.Problem{*broken}, r.Problems...)
	}
	return r, err
}

// printCheck prints a report for people.
func (a *app) printCheck(r index.CheckReport) {
	repaired, notes := 0, 0
	for _, p := range r.Problems {
		kind := "problem"
		text := p.Text
		switch {
		case p.Repaired != "":
			kind, text = "repaired", text+"; "+p.Repaired
			repaired++
		case p.Note:
			kind = "note"
			notes++
		}
		fmt.Fprintln(a.out, printable(fmt.Sprintf("%-8s  %s  %s: %s", kind, p.Kind, p.Subject, text)))
	}
	where := "Drive was not asked"
	if r.Remote {
		where = fmt.Sprintf("%d on Drive", r.Listed)
	}
	a.say("%s, %s (%s), %s, %s (%s) checked", english.Plural(r.Records, "record", "records"), english.Plural(r.Images, "image", "images"), where,
		english.Plural(r.Drafts, "draft", "drafts"), english.Plural(int(r.Blocks), "block", "blocks"), humanize.Bytes(uint64(r.Bytes)))
	a.say("%s, %d repaired, %s", english.Plural(r.Remaining, "problem", "problems"), repaired, english.Plural(notes, "note", "notes"))
}
