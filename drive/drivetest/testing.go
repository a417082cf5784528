package drivetest

import "testing"

// NewServer opens a Server with o, listening on a free port of 127.0.0.1, and closes it when tb ends.
func NewServer(tb testing.TB, o Options) *Server {
	tb.Helper()
	s, err := Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close emulated Drive: %v", err)
		}
	})
	if err := s.Listen("127.0.0.1:0"); err != nil {
		tb.Fatal(err)
	}
	return s
}
