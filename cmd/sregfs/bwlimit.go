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
	if in.up, err = parseAmount(up); err != nil {
		return err
	}
	if in.down, err = parseAmount(down); err != nil {
		return err
	}
	in.text = text
	*b = in
	return nil
}

// amount is a number of bytes, or of bytes a second.
type amount struct {
	n    int64 // 0: no limit
	text string
}

// String implements pflag.Value.
func (a *amount) String() string { return a.text }

// Type implements pflag.Value.
func (a *amount) Type() string { return "SIZE" }

// Set implements pflag.Value.
func (a *amount) Set(text string) error {
	n, err := parseAmount(text)
	if err == nil {
		*a = amount{n, text}
	}
	return err
}

// mostBytes is more than any line moves in a second.
const mostBytes = 1 << 50

// parseAmount reads a number of bytes with K, M or G for powers of 1024, with or without B or iB behind it.
func parseAmount(text string) (int64, error) {
	if text == "off" || text == "0" {
		return 0, nil
	}
	unit := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(text)), "B"), "I")
	if strings.HasSuffix(unit, "K") || strings.HasSuffix(unit, "M") || strings.HasSuffix(unit, "G") {
		unit += "iB"
	}
	n, err := humanize.ParseBytes(unit)
	if err != nil || n == 0 || n > mostBytes {
		return 0, fmt.Errorf("%q is no number of bytes; write it like 500K, 10M or off", text)
	}
	return int64(n), nil
}
