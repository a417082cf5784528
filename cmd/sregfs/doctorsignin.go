package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"time"

	"sregfs/drive"
)

// What doctor looks at of the sign-in and of Drive.

func (a *app) checkToken(context.Context) (message, next string) {
	info, err := os.Stat(a.set.Token)
	if errors.Is(err, iofs.ErrNotExist) {
		return "there is none yet", ""
	}
	if err != nil {
		return err.Error(), "make it readable for you, or choose another with SREGFS_TOKEN"
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Sprintf("others on this machine can read %s: its mode was %04o, and is 0600 from now on", a.set.Token, mode),
			"sregfs logout, then sregfs login: what somebody may have copied ends by that"
	}
	return fmt.Sprintf("%s, for you alone", a.set.Token), ""
}

func (a *app) checkCredentials(context.Context) (message, next string) {
	auth, err := a.auth()
	switch {
	case errors.Is(err, drive.ErrNoCredentials):
		return "there are none", "export SREGISTRY_GOOGLE_DRIVE_CREDENTIALS with the path of an OAuth client file of the type Desktop app"
	case err != nil:
		return err.Error(), "download the file again from the Google Cloud console, APIs & Services, Credentials"
	}
	if a.set.command != "" {
		return "printed by a command (" + a.set.origins["credentials"].name + ")", ""
	}
	if info, err := os.Stat(a.set.Credentials); err == nil && auth.Kind() == drive.KindServiceAccount && info.Mode().Perm()&0o077 != 0 {
		return fmt.Sprintf("others on this machine can read the key in %s", a.set.Credentials), "chmod 600 " + a.set.Credentials
	}
	return a.set.Credentials, ""
}

// publish is how grants are made to last.
const publish = "a grant to a project in testing ends after 7 days: publish it in the Google Cloud console (Google Auth Platform, Audience) to keep grants"

// soon is how long before its end a grant is worth a word.
const soon = 24 * time.Hour

func (a *app) checkSignIn(context.Context) (message, next string) {
	auth, err := a.auth()
	if err != nil {
		return "needs credentials", "see above"
	}
	if !auth.SignedIn() {
		return "nobody is signed in", "sregfs login"
	}
	if auth.Kind() == drive.KindServiceAccount {
		return "a service account", ""
	}
	consent := auth.Consent()
	message = describeConsent(consent, time.Now())
	if !consent.Ends.IsZero() && time.Until(consent.Ends) < soon {
		return message, "sregfs login; " + publish
	}
	return message, ""
}

// describeConsent says when a grant was given and ends.
func describeConsent(c drive.Consent, now time.Time) string {
	const stamp = "2006-01-02 15:04"
	text := "consent of an unknown day"
	if !c.Given.IsZero() {
		text = fmt.Sprintf("consent given %s (%s ago)", c.Given.Local().Format(stamp), span(now.Sub(c.Given)))
	}
	switch {
	case c.Ends.IsZero():
		return text
	case now.After(c.Ends):
		return fmt.Sprintf("%s, ended %s (%s ago)", text, c.Ends.Local().Format(stamp), span(now.Sub(c.Ends)))
	}
	return fmt.Sprintf("%s, ends %s (in %s)", text, c.Ends.Local().Format(stamp), span(c.Ends.Sub(now)))
}

// span is a length of time for people, in its largest whole unit.
func span(d time.Duration) string {
	n, unit := int(d/time.Minute), "minute"
	switch {
	case d >= 48*time.Hour:
		n, unit = int(d/(24*time.Hour)), "day"
	case d >= 2*time.Hour:
		n, unit = int(d/time.Hour), "hour"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", max(n, 0), unit)
}

func (a *app) checkDrive(ctx context.Context) (message, next string) {
	auth, err := a.auth()
	if err != nil {
		return "needs credentials", "see above"
	}
	if !auth.SignedIn() {
		return "needs a sign-in", "see above"
	}
	client, err := drive.New(drive.Options{URL: a.set.URL, Auth: auth, Timeout: min(a.set.Timeout, 10*time.Second), UserAgent: "sregfs/" + version, Log: a.log}) //nolint:contextcheck // a client has a life of its own
	if err != nil {
		return err.Error(), "see --drive-url"
	}
	defer client.Close()
	about, err := client.About(ctx)
	if err != nil {
		return drive.Sentence(err), a.driveAdvice(err, auth)
	}
	room := "unlimited"
	if about.Limit > 0 {
		room = fmt.Sprintf("%s of %s used", size(about.Usage), size(about.Limit))
		if about.Usage >= about.Limit {
			return fmt.Sprintf("%s: %s", about.Email, room), "free some room in Drive; its bin counts too"
		}
	}
	return fmt.Sprintf("%s, %s", about.Email, room), ""
}

// driveAdvice is the one thing to do when Drive answers with err.
func (a *app) driveAdvice(err error, auth *drive.Auth) string {
	var e *drive.Error
	reason := ""
	if errors.As(err, &e) {
		reason = e.Reason
	}
	switch {
	case reason == "accessNotConfigured":
		address := "https://console.cloud.google.com/apis/library/drive.googleapis.com"
		if project := auth.Project(); project != "" {
			address += "?project=" + project
		}
		return "enable the Google Drive API at " + address
	case reason == "insufficientPermissions":
		return "sregfs login, and tick access to all of your Google Drive files"
	case errors.Is(err, drive.ErrSignIn):
		switch given := auth.Consent().Given; {
		case auth.Kind() == drive.KindServiceAccount:
			return "make a new key of the service account in the Google Cloud console, and see that the clock is right"
		case !given.IsZero() && time.Since(given) < 7*24*time.Hour:
			return "sregfs login" // somebody withdrew it
		}
		return "sregfs login; " + publish
	case errors.Is(err, drive.ErrCredentials):
		return "download the OAuth client file again from the Google Cloud console, APIs & Services, Credentials"
	case errors.Is(err, drive.ErrProtocol):
		return "see whether a proxy, or a portal to sign in to, answers for " + a.set.URL
	case errors.Is(err, drive.ErrOffline), errors.Is(err, drive.ErrTimeout):
		return "see that this machine reaches " + a.set.URL
	case errors.Is(err, drive.ErrRateLimit), errors.Is(err, drive.ErrQuota):
		return "wait: nothing here is wrong"
	}
	return "sregfs --debug doctor shows the request and Drive's answer"
}
