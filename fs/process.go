package fs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// process is the number of a process, as opposed to that of one of its threads. 0 is not known.
type process int

// processOf finds the process of a thread, which is what the kernel names in a request. A thread outside our pid
// namespace is 0, and so is one that is gone.
func processOf(thread uint32) process {
	if thread == 0 {
		return 0
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return 0
	}
	id, err := strconv.Atoi(statusField(status, "Tgid:"))
	if err != nil {
		return 0
	}
	return process(id)
}

// statusField reads one line of /proc/PID/status, "" if it has none of this name.
func statusField(status []byte, name string) string {
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte(name)); ok {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}
