package drive

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"net/http"
	"time"

	gdrive "google.golang.org/api/drive/v3"
	"google.golang.org/api/googleapi"
)

// Change is one entry of the changes feed: the present state of a file, not what happened to it.
type Change struct {
	ID      string
	Removed bool  // deleted, or no longer visible to me
	File    *File // nil if removed
	Time    time.Time
}

// StartPageToken is where the changes feed begins now: what changes later, Changes tells.
func (c *Client) StartPageToken(ctx context.Context) (string, error) {
	var token string
	err := c.call(ctx, op{name: "changes.getStartPageToken", units: unitsRead}, func(ctx context.Context) error {
		got, err := c.svc.Changes.GetStartPageToken().SupportsAllDrives(true).Fields("startPageToken").Context(ctx).Do()
		if err != nil {
			return err
		}
		if got.StartPageToken == "" {
			return fmt.Errorf("no start page token: %w", ErrProtocol)
		}
		token = got.StartPageToken
		return nil
	})
	return token, err
}

// Changes reads the feed from token to its end: one entry for each file that changed, oldest first, our
// own changes included; and the token to go on from. It returns ErrToken if Drive refuses token: then what
// changed can only be learnt from a listing.
func (c *Client) Changes(ctx context.Context, token string) (changes []Change, next string, err error) {
	for page := token; ; {
		var got *gdrive.ChangeList
		err := c.call(ctx, op{name: "changes.list", units: unitsList}, func(ctx context.Context) error {
			var err error
			got, err = c.svc.Changes.List(page).PageSize(pageSize).Spaces("drive").IncludeRemoved(true).
				SupportsAllDrives(true).IncludeItemsFromAllDrives(true).
				Fields("nextPageToken", "newStartPageToken", googleapi.Field("changes(changeType,fileId,removed,time,file("+fileFields+"))")).
				Context(ctx).Do()
			if err == nil && (got.NextPageToken == "") == (got.NewStartPageToken == "") {
				err = fmt.Errorf("changes with both tokens or neither: %w", ErrProtocol)
			}
			return err
		})
		if err != nil {
			return nil, "", refusedToken(err)
		}
		for _, g := range got.Changes {
			if g == nil || g.FileId == "" { // a change of a shared drive itself
				continue
			}
			ch := Change{ID: g.FileId, Removed: g.Removed || g.File == nil, Time: timeOf(g.Time)}
			if !ch.Removed {
				f := fileOf(g.File)
				ch.File = &f
			}
			changes = append(changes, ch)
		}
		if got.NewStartPageToken != "" {
			return changes, got.NewStartPageToken, nil
		}
		page = got.NextPageToken
	}
}

// refusedToken makes every answer that is about the token, and not about us or the rate, an ErrToken. Which
// ones Drive uses is not documented: 400 and 410 have been seen.
func refusedToken(err error) error {
	var e *Error
	if !errors.As(err, &e) || e.Status < 400 || e.Status >= 500 || e.Status == http.StatusUnauthorized {
		return err
	}
	if errors.Is(e.Kind, ErrInvalid) || errors.Is(e.Kind, iofs.ErrNotExist) {
		refused := *e
		refused.Kind = ErrToken
		return &refused
	}
	return err
}
