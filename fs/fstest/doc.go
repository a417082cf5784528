// Package fstest mounts a registry of an emulated Drive for tests, in a process of its own, and runs real commands on
// it. A test never touches the mount itself: a Go process that reads its own mount can block the threads that would have
// to answer, and a process that can be killed is what a crash test needs.
//
// A package that uses it starts its tests by Main:
//
//	func TestMain(m *testing.M) { fstest.Main(m) }
//
// and a test reads
//
//	srv := drivetest.NewServer(t, drivetest.Options{})
//	m := fstest.Mount(t, srv, fstest.Options{})
//	got := m.Sh("ls vsoch")
//
// When the test ends the mount is unmounted; what the process left behind, a panic in its log, or a mount still in the
// table fails the test.
package fstest
