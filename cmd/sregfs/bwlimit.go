package main

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
)

// bwlimit is a bandwidth for both directions as rclone's --bwlimit has it: RATE, or UP:DOWN, where a rate is bytes a
// second in units of 1024, or off.
type bwlimit struct {
	up, down int64 // 0: no limit
	text     string
}

// String implements pflag.Value.
func (b *bwlimit) String() string { return b.text }

// Type implements pflag.Value.
func (b *bwlimit) Type() string { return "UP:DOWN" }

// Set implements pflag.Value.
func (b *bwlimit) Set(text string) (err error) {
	up, down, two := strings.Cut(text, ":")
	if !two {
		down = up
	}
	var in bwlimit
	if in.up, err = parseRate(up); err != nil {
		return err
	}
	if in.down, err = parseRate(down); err != nil {
		return err
	}
	in.text = text
	*b = in
	return nil
}

// rate is a bandwidth in bytes a second.
type rate struct {
	n    int64 // 0: no limit
	text string
}

// String implements pflag.Value.
func (r *rate) String() string { return r.text }

// Type implements pflag.Value.
func (r *rate) Type() string { return "RATE" }

// Set implements pflag.Value.
func (r *rate) Set(text string) error {
	n, err := parseRate(text)
	if err == nil {
		*r = rate{n, text}
	}
	return err
}

// mostRate is more than any line has, in bytes a second.
const mostRate = 1 << 50

// parseRate reads bytes a second: a number of bytes with K, M or G for powers of 1024, with or without B or iB behind it.
func parseRate(text string) (int64, error) {
	if text == "off" || text == "0" {
		return 0, nil
	}
	unit := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(text)), "B"), "I")
	if strings.HasSuffix(unit, "K") || strings.HasSuffix(unit, "M") || strings.HasSuffix(unit, "G") {
		unit += "iB"
	}
	n, err := humanize.ParseBytes(unit)
	if err != nil || n == 0 || n > mostRate {
		return 0, fmt.Errorf("%q is no rate; write bytes a second like 500K, 10M or off", text)
	}
	return int64(n), nil
}
