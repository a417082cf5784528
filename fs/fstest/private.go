package fstest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"sregfs/fs"
)

// privateVariable tells the program that it has its own mounts already.
const privateVariable = "SREGFS_FSTEST_PRIVATE"

// Private gives the test program mounts of its own, before any test runs: what it mounts nobody else sees, and it sees
// no sregfs of other programs, whose dead mounts the commands under test would report. Without root it does nothing.
//
// It starts the program again in the same process, because a mount namespace belongs to a thread.
func Private() error {
	if os.Geteuid() != 0 {
		return nil
	}
	if os.Getenv(privateVariable) != "" {
		if err := os.Unsetenv(privateVariable); err != nil { // for the programs that the tests start
			return err
		}
		return leaveOthers()
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	// What others unmount goes here too; what is mounted here stays here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	return unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), privateVariable+"=yes"))
}

// leaveOthers takes what other tests have mounted out of this program's sight.
func leaveOthers() error {
	ours, err := fs.Mounts()
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range slices.Backward(ours) {
		if err := unix.Unmount(m.Dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("leave %s: %w", m.Dir, err))
		}
	}
	return errors.Join(errs...)
}
