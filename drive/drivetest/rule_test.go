package drivetest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sregfs/drive/drivetest"
)

func TestParseRule(t *testing.T) {
	for text, want := range map[string]*drivetest.Rule{
		"GET /drive/v3/files/* alt=media status=403 reason=downloadQuotaExceeded times=3": drivetest.On("GET", "/drive/v3/files/*").
			Query("alt", "media").Status(403, "downloadQuotaExceeded").Times(3),
		"put /upload/*   nth=2 cut-request=300000": drivetest.On("PUT", "/upload/*").Nth(2).CutRequest(300000),
		`* * chance=0.05 status=503 message="a b"`: drivetest.On("", "*").Chance(0.05).Status(503, "").Message("a b"),
		`* * chance=0.05 status=503 "message=a b"`: drivetest.On("*", "*").Chance(0.05).Status(503, "").Message("a b"),
		"GET * delay=1.5s stall":                   drivetest.On("GET", "*").Delay(1500 * time.Millisecond).Stall(),
		"GET * delay=1s status=503 retry-after=1m": drivetest.On("GET", "*").Delay(time.Second).Status(503, "").RetryAfter(time.Minute),
		"GET * cut=0":                               drivetest.On("GET", "*").Cut(0),
		"POST * drop-reply":                         drivetest.On("POST", "*").DropReply(),
		"POST * after status=500 reason=x":          drivetest.On("POST", "*").Status(500, "x").After(),
		"GET * html status=502":                     drivetest.On("GET", "*").Status(502, "").HTML(),
		"GET * array status=400 retry-after=2s":     drivetest.On("GET", "*").Status(400, "").Array().RetryAfter(2 * time.Second),
		"GET * corrupt short-body ignore-range":     drivetest.On("GET", "*").Corrupt().ShortBody().IgnoreRange(),
		"GET * wrong-range trickle=1000":            drivetest.On("GET", "*").WrongRange().Trickle(1000),
		"GET * ?status=x ?times=* q=a=b pageToken=": drivetest.On("GET", "*").Query("status", "x").Query("times", "*").Query("q", "a=b").Query("pageToken", ""),
	} {
		got, err := drivetest.ParseRule(text)
		require.NoError(t, err)
		require.Equal(t, want, got, text)
		again, err := drivetest.ParseRule(got.String())
		require.NoError(t, err, got.String())
		require.Equal(t, want, again, got.String())
	}
	for _, text := range []string{
		"", "GET", "GET * nonsense", "GET * stall=1", "GET * nth=0", "GET * times=x", "GET * chance=2", "GET * status=99",
		"GET * delay=5", "GET * delay=-1s", "GET * cut=-1", `GET * message="open`, "GET * after", "GET * reason=x",
	} {
		_, err := drivetest.ParseRule(text)
		require.ErrorContains(t, err, "fault rule", text)
	}
}

// FuzzParseRule: what parses has a text form that says the same.
func FuzzParseRule(f *testing.F) {
	for _, seed := range []string{
		"GET /drive/v3/files/* alt=media status=403 reason=downloadQuotaExceeded times=3", `* * chance=0.05 status=503 message="a b"`,
		"GET * ?status=x ??=y \"\"=\"\" delay=1h stall", "\"a b\" \"\" cut=0 cut-request=1 after status=500", "PUT * message=\"\\u0000\xff\" status=200",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rule, err := drivetest.ParseRule(text)
		if err != nil {
			return
		}
		again, err := drivetest.ParseRule(rule.String())
		require.NoError(t, err, "%q of %q", rule.String(), text)
		require.Equal(t, rule.String(), again.String())
		require.Equal(t, rule, again, "%q", rule.String())
	})
}
