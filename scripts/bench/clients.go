package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
)

// contentURL is where the image's bytes are.
func (b *bench) contentURL(img *hosted) string {
	return b.srv.URL() + "/drive/v3/files/" + img.id + "?alt=media"
}

// curl fetches the image into a file as a person would by hand: one connection, from front to back.
func (b *bench) curl(img *hosted, file string) error {
	_, err := output(b.command("curl", "-fsS", "-H", "Authorization: Bearer "+b.user.AccessToken(), "-o", file, b.contentURL(img)))
	return err
}

// inRanges fetches the image into a file on so many connections, a range of it on each, and checks nothing: the most
// that a parallel download can do.
func (b *bench) inRanges(img *hosted, file string, connections int) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	errs := make(chan error, connections)
	var wg sync.WaitGroup
	part := (img.size + int64(connections) - 1) / int64(connections)
	for off := int64(0); off < img.size; off += part {
		wg.Go(func() { errs <- b.oneRange(img, f, off, min(part, img.size-off)) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return f.Close()
}

func (b *bench) oneRange(img *hosted, to io.WriterAt, off, n int64) error {
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, b.contentURL(img), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	resp, err := b.do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.CopyBuffer(struct{ io.Writer }{io.NewOffsetWriter(to, off)}, resp.Body, make([]byte, 1<<20))
	if err == nil && got != n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// curlUpload sends a local file to the Drive as a new one, by a resumable session with one PUT.
func (b *bench) curlUpload(file, name string) error {
	auth := "Authorization: Bearer " + b.user.AccessToken()
	head, err := output(b.command("curl", "-fsS", "-D", "-", "-o", "/dev/null", "-H", auth, "-H", "Content-Type: application/json",
		"-d", fmt.Sprintf(`{"name":%q,"parents":[%q]}`, name, b.plain), b.srv.URL()+"/upload/drive/v3/files?uploadType=resumable"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(head) {
		if key, value, _ := strings.Cut(line, ":"); strings.EqualFold(key, "Location") {
			_, err := output(b.command("curl", "-fsS", "-H", auth, "-H", "Expect:", "-T", file, strings.TrimSpace(value)))
			return err
		}
	}
	return fmt.Errorf("an upload session without an address:\n%s", head)
}
