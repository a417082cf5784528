package fs

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A connection waits for the kernel to drop its end of the FUSE connection, which it does when the mount is gone and the
// last file in it closed. The FUSE library notices too, but then waits for all handlers, which may wait for Drive on
// behalf of nobody.
type connection struct {
	device *os.File // the library's descriptor of the connection, duplicated
	stop   *os.File // closed to end the waiting
	stopR  *os.File
	done   chan struct{} // closed when nobody waits any more
}

// watchConnection calls ended when the connection has ended whose descriptor was opened since before was made.
func watchConnection(before map[int]bool, ended func()) (*connection, error) {
	fds, err := fuseDescriptors()
	if err != nil {
		return nil, err
	}
	for fd := range fds {
		if before[fd] {
			continue
		}
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("duplicate the connection: %w", err)
		}
		c := &connection{device: os.NewFile(uintptr(dup), fuseDevice), done: make(chan struct{})}
		if c.stopR, c.stop, err = os.Pipe(); err != nil {
			_ = c.device.Close()
			return nil, err
		}
		go c.wait(ended)
		return c, nil
	}
	return nil, fmt.Errorf("the connection has no descriptor of %s", fuseDevice)
}

const fuseDevice = "/dev/fuse"

// fuseDescriptors are the descriptors of this process that lead to fuseDevice.
func fuseDescriptors() (map[int]bool, error) {
	var device unix.Stat_t
	if err := unix.Stat(fuseDevice, &device); err != nil {
		return nil, fmt.Errorf("stat %s: %w", fuseDevice, err)
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	fds := map[int]bool{}
	for _, e := range entries {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
			continue
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == device.Rdev {
			fds[fd] = true
		}
	}
	return fds, nil
}

// wait asks for no event: an error on the device is told all the same.
func (c *connection) wait(ended func()) {
	defer close(c.done)
	fds := []unix.PollFd{{Fd: int32(c.device.Fd())}, {Fd: int32(c.stopR.Fd())}}
	for {
		_, err := unix.Poll(fds, -1)
		if err == unix.EINTR {
			continue
		}
		if err == nil && fds[1].Revents == 0 {
			ended()
		}
		return
	}
}

// close ends the waiting, and lets go of the connection.
func (c *connection) close() {
	_ = c.stop.Close()
	<-c.done
	_ = c.stopR.Close()
	_ = c.device.Close()
}
