package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// startChromium starts the browser that tests sign in with, a new one that knows nothing. Continuous integration has to
// have it; elsewhere a test without one is skipped.
func startChromium(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("chromium is not installed: scripts/setup --test does")
		}
		t.Skip("chromium is not installed; scripts/setup --test does: ", err)
	}
	flags := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(2 * time.Minute)}
	for _, flag := range []string{
		"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-dev-shm-usage",
		"disable-background-networking", "disable-component-update", "disable-sync", "no-proxy-server",
	} {
		flags = append(flags, chromedp.Flag(flag, true))
	}
	alloc, end := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), flags...)
	t.Cleanup(end) // and waits for the process
	browser, closeIt := chromedp.NewContext(alloc)
	t.Cleanup(closeIt)
	require.NoError(t, chromedp.Do(browser))
	return browser
}

// tab is a tab of the browser.
type tab struct {
	t   testing.TB
	ctx context.Context //nolint:containedctx // chromedp's way to name a tab

	mu    sync.Mutex // guards asked
	asked []string   // addresses of all requests
}

// newTab opens a tab of a person who was never here: with cookies of its own, unless it is one more of with.
func newTab(browser context.Context, t testing.TB, with ...*tab) *tab {
	t.Helper()
	b := &tab{t: t}
	parent, opts := browser, []chromedp.ContextOption{chromedp.WithNewBrowserContext()}
	if len(with) > 0 {
		parent, opts = with[0].ctx, nil
	}
	ctx, closeIt := chromedp.NewContext(parent, append(opts, chromedp.WithListener(b.note))...)
	t.Cleanup(closeIt)
	require.NoError(t, chromedp.Do(ctx)) // a first call with a time limit would close the tab at its end
	limited, cancel := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	b.ctx = limited
	return b
}

// note takes what happens in the tab.
func (b *tab) note(event any) {
	if sent, ok := event.(*network.EventRequestWillBeSent); ok {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.asked = append(b.asked, sent.Request.URL)
	}
}

func (b *tab) visit(address string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.Navigate(address)))
}

func (b *tab) click(selector string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.Click(chromedp.CSS(selector))))
}

func (b *tab) doubleClick(selector string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.DoubleClick(chromedp.CSS(selector))))
}

// text waits for the element, and gives its text.
func (b *tab) text(selector string) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS(selector), chromedp.NodeVisible))
	require.NoError(b.t, err)
	return text
}

// close closes the tab, as a person does.
func (b *tab) close() {
	b.t.Helper()
	require.NoError(b.t, chromedp.Cancel(b.ctx))
}

// trail is all that the browser keeps of the way to the page it shows, a line each: the address, the referrer, what can be
// gone back to, the page itself.
func (b *tab) trail() []string {
	b.t.Helper()
	at, err := chromedp.Run(b.ctx, chromedp.Location())
	require.NoError(b.t, err)
	referrer, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.referrer"))
	require.NoError(b.t, err)
	text, err := chromedp.Run(b.ctx, chromedp.OuterHTML(chromedp.CSS("html")))
	require.NoError(b.t, err)
	all := append([]string{at, referrer}, strings.Split(text, "\n")...)
	back, err := chromedp.Run(b.ctx, chromedp.NavigationEntries())
	require.NoError(b.t, err)
	for _, e := range back.Entries {
		all = append(all, e.URL, e.Title)
	}
	return all
}

// requests are the addresses of all that the tab asked for.
func (b *tab) requests() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string{}, b.asked...)
}
