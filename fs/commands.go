package fs

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"sregfs/index"
)

// The commands of the control files: each takes one line and answers a text.

// sentence says what a person needs to know of err.
func sentence(err error) string { return index.Sentence(err) }

// usage is the answer to a line that is no command.
func usage(form string) error { return &refusal{syscall.EINVAL, "usage: " + form} }

const shareForm = "EMAIL REF [reader|commenter|writer] [notify=no] [message=TEXT], or ls REF, or rm EMAIL REF"

// runShare invites, lists or revokes. REF is a name or a Drive file id.
func (fsys *FS) runShare(ctx context.Context, line string) (string, error) {
	line, message, _ := strings.Cut(line, "message=")
	words := strings.Fields(line)
	switch {
	case len(words) == 2 && words[0] == "ls":
		img, err := fsys.ix.Resolve(words[1])
		if err != nil {
			return "", err
		}
		return fsys.imageShared(ctx, img)
	case len(words) == 3 && words[0] == "rm":
		img, err := fsys.ix.Resolve(words[2])
		if err != nil {
			return "", err
		}
		return "", fsys.ix.Unshare(ctx, img, words[1])
	case len(words) < 2:
		return "", usage(shareForm)
	}
	in := index.Invite{Email: words[0], Notify: true, Message: strings.TrimSpace(message)}
	for _, w := range words[2:] {
		key, value, isOption := strings.Cut(w, "=")
		switch {
		case isOption && key == "notify":
			in.Notify = value != "no"
		case !isOption && in.Role == "":
			in.Role = w
		default:
			return "", usage(shareForm)
		}
	}
	img, err := fsys.ix.Resolve(words[1])
	if err != nil {
		return "", err
	}
	p, err := fsys.ix.Share(ctx, img, in)
	if err != nil {
		return "", err
	}
	return index.Shared(in, p), nil
}

// runRecord answers what is known of an image, as JSON.
func (fsys *FS) runRecord(_ context.Context, line string) (string, error) {
	img, err := fsys.ix.Resolve(line)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(img)
	return string(b), err
}

// runPrefetch brings an image to this machine.
func (fsys *FS) runPrefetch(ctx context.Context, line string) (string, error) {
	img, err := fsys.ix.Resolve(line)
	if err != nil {
		return "", err
	}
	if err := fsys.ix.Prefetch(ctx, img); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: %d bytes on this machine", img.Ref, fsys.ix.Cached(img)), nil
}

// runRefresh asks Drive for changes now, whatever the line says.
func (fsys *FS) runRefresh(ctx context.Context, _ string) (string, error) {
	if err := fsys.ix.Refresh(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d images", fsys.ix.Status().Images), nil
}

const pushForm = "retry ID, or drop ID; .sregfs/transfers has the numbers"

// runPush takes up a parked push again, or gives it up with its bytes.
func (fsys *FS) runPush(_ context.Context, line string) (string, error) {
	if fsys.o.ReadOnly {
		return "", index.ErrReadOnly
	}
	words := strings.Fields(line)
	if len(words) != 2 {
		return "", usage(pushForm)
	}
	id, err := strconv.ParseUint(words[1], 10, 64)
	if err != nil {
		return "", usage(pushForm)
	}
	switch words[0] {
	case "retry":
		return "", fsys.ix.RetryPush(id)
	case "drop":
		d := fsys.draft(id)
		if d == nil {
			return "", fmt.Errorf("draft %d: %w", id, os.ErrNotExist)
		}
		return "", fsys.removeDraft(d)
	}
	return "", usage(pushForm)
}
