//go:build !crash

package index

// crashpoint names a place between two steps that a crash may come between. In an ordinary build it is nothing; the
// crash harness (scripts/crash) builds a program that can be told to end there.
func crashpoint(string) {}
