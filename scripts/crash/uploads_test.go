//go:build crash

package crash

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"sregfs/drive/drivetest"
)

// uploads is what the log of the Drive says of the contents it was sent.
type uploads struct {
	read int64            // bytes of the log
	at   map[string]int64 // where the last chunk of each session began
}

// add reads the log on. An upload goes on where Drive is, never further back.
func (u *uploads) add(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Seek(u.read, io.SeekStart); err != nil {
		return err
	}
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		u.read += int64(len(line))
		var r drivetest.Request
		if json.Unmarshal(line, &r) != nil { // the one the Drive was killed at
			continue
		}
		if err := u.note(r); err != nil {
			return err
		}
	}
}

func (u *uploads) note(r drivetest.Request) error {
	if r.Op != "upload.chunk" || r.In == 0 || r.ContentRange == "" {
		return nil
	}
	query, err := url.ParseQuery(r.Query)
	if err != nil {
		return err
	}
	session := query.Get("upload_id")
	var from, to, size int64
	if _, err := fmt.Sscanf(r.ContentRange, "bytes %d-%d/%d", &from, &to, &size); err != nil {
		return fmt.Errorf("%s: %w", r.ContentRange, err)
	}
	if (r.Status < 300 || r.Status == 308) && from < u.at[session] { // one that was cut is logged when it is noticed
		return fmt.Errorf("drive was sent again what it had, up to %d: %s", u.at[session], r)
	}
	u.at[session] = max(u.at[session], from)
	total.bytes.Add(r.In)
	return nil
}
