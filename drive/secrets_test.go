package drive_test

import (
	"bytes"
	"context"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"sregfs/drive"
	"sregfs/drive/drivetest"
)

// safeBuffer is written to by loggers on several goroutines.
type safeBuffer struct {
	mu sync.Mutex // guards Buffer
	bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// Whatever goes wrong, neither a log at its most talkative nor an error holds a token, a code, or the
// address of an upload session.
func TestSecretsStaySecret(t *testing.T) {
	w := start(t, drivetest.Options{})
	log := &safeBuffer{}
	talkative := logrus.New()
	talkative.SetLevel(logrus.TraceLevel)
	talkative.SetOutput(log)
	auth, err := drive.OpenAuth(drive.AuthOptions{Credentials: w.dir + "/client_secrets.json", Token: w.dir + "/token.json", Save: true, Log: talkative})
	require.NoError(t, err)
	c := w.client(drive.Options{Auth: auth, Log: talkative, Timeout: 200 * time.Millisecond})
	f := w.put("x", noise(100))
	id, session := w.begin(1 << 20)
	address, err := url.Parse(session)
	require.NoError(t, err)
	token := w.readToken()
	secrets := []string{token.AccessToken, token.RefreshToken, address.Query().Get("upload_id"), "upload_id"}

	var said []error
	note := func(err error) {
		require.Error(t, err)
		said = append(said, err)
	}
	for _, dress := range []func(*drivetest.Rule) *drivetest.Rule{
		(*drivetest.Rule).DropReply, (*drivetest.Rule).Stall,
		func(r *drivetest.Rule) *drivetest.Rule { return r.Status(503, "backendError") },
		func(r *drivetest.Rule) *drivetest.Rule { return r.Status(404, "notFound") },
		func(r *drivetest.Rule) *drivetest.Rule { return r.Status(401, "authError") },
		func(r *drivetest.Rule) *drivetest.Rule { return r.Status(502, "").HTML() },
		func(r *drivetest.Rule) *drivetest.Rule { return r.CutRequest(1000) },
	} {
		w.srv.ClearFaults()
		w.srv.Fault(dress(drivetest.On("*", "*")))
		_, err := c.Upload(t.Context(), session, bytes.NewReader(noise(1<<20)), 1<<20, nil)
		note(err)
		_, err = c.BeginUpload(t.Context(), drive.NewFile{ID: id, Name: "x", Size: 1})
		note(err)
		note(c.ReadRange(t.Context(), contentOf(f), make([]byte, 10), 0, nil))
		_, err = c.About(t.Context())
		note(err)
	}
	w.srv.ClearFaults()
	_, err = c.Upload(t.Context(), "http://127.0.0.1:1/upload?upload_id=sesame", bytes.NewReader(nil), 0, nil)
	note(err)
	_, err = c.Upload(t.Context(), "http://127.0.0.1:port/upload?upload_id=sesame", bytes.NewReader(nil), 0, nil)
	note(err)
	secrets = append(secrets, "sesame")

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w.srv.Fault(drivetest.On("POST", "/token").DropReply())
	note(auth.Login(ctx, drive.Login{Prompt: func(consent string) error {
		to, err := w.user.Authorize(consent)
		require.NoError(t, err)
		answer, err := url.Parse(to)
		require.NoError(t, err)
		secrets = append(secrets, answer.Query().Get("code"), answer.Query().Get("state"))
		browser(t, to)
		return nil
	}}))
	w.user.RevokeTokens()
	w.srv.ClearFaults()
	_, err = c.About(t.Context())
	note(err)

	text := log.String()
	require.NotEmpty(t, text)
	for _, err := range said {
		text += err.Error() + "\n" + drive.Sentence(err) + "\n"
	}
	for _, secret := range secrets {
		require.NotEmpty(t, secret)
		require.False(t, strings.Contains(text, secret), "%q is in: %s", secret, text)
	}
}
