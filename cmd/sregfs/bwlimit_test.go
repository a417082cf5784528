package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBandwidthFlags(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]int64{
		"off": {}, "0": {}, "10M": {10 << 20, 10 << 20}, "10MB": {10 << 20, 10 << 20}, "1.5MiB": {3 << 19, 3 << 19}, "500k": {500 << 10, 500 << 10},
		"1M:100k": {1 << 20, 100 << 10}, "off:2G": {0, 2 << 30}, "1M:off": {1 << 20, 0}, "4096": {4096, 4096},
	} {
		var b bwlimit
		require.NoError(t, b.Set(text), text)
		require.Equal(t, want, [2]int64{b.up, b.down}, text)
		require.Equal(t, text, b.String())
	}
	for _, text := range []string{"", "fast", "-1M", "1M:", ":1M", "1M:2M:3M", "0.1", "1e30", "NaN", "10Q"} {
		var b bwlimit
		require.Error(t, b.Set(text), text)
		var a amount
		require.Error(t, a.Set(text), text)
	}
}
