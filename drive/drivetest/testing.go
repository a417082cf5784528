package drivetest

import "testing"

// NewServer opens a Server with o, listening on a free port of 127.0.0.1, and closes it when t ends.
func NewServer(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close emulated Drive: %v", err)
		}
	})
	if err := s.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	return s
}
