package image_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sregfs/index/image"
)

func TestDescribe(t *testing.T) {
	r := image.Ref{Collection: "VSoch", Image: "Hello-World", Tag: "Pancakes", Version: md5Hex}
	m, err := image.Describe(r, ".simg", map[string]string{"maintainer": "ann@uni.edu"}, nil)
	require.NoError(t, err)
	uri := "vsoch/hello-world:pancakes@" + md5Hex
	require.Equal(t, uri+".simg", m.Name)
	require.Empty(t, m.Description)
	require.Equal(t, map[string]string{
		"type": "container", "uri": uri, "collection": "vsoch", "image": "hello-world", "tag": "pancakes",
		"version": md5Hex, "storage": uri + ".simg", "maintainer": "ann@uni.edu",
	}, m.Properties)
}

func TestDescribeSpillsWhatDoesNotFit(t *testing.T) {
	r := image.Ref{Collection: "c", Image: "i", Tag: "t", Version: md5Hex}
	labels := map[string]string{
		"long":             strings.Repeat("x", 121), // 125 bytes with its key
		"fits":             strings.Repeat("ä", 60),  // 124
		"type":             "a label with the name of a registry key",
		"version":          "1.0",
		"url":              "http://example.org",
		"sregfs.profile.0": "forged",
		"empty":            "",
	}
	for i := range 40 {
		labels[fmt.Sprintf("label%02d", i)] = strings.Repeat("v", i)
	}
	m, err := image.Describe(r, ".sif", labels, nil)
	require.NoError(t, err)
	within(t, m)
	require.Len(t, m.Properties, image.MaxProperties-6, "six are left for the start-up profile")
	require.Equal(t, "container", m.Properties["type"])
	require.Equal(t, md5Hex, m.Properties["version"])
	require.NotContains(t, m.Properties, "sregfs.profile.0")
	require.Contains(t, m.Properties, "label01", "the shortest labels come first")
	require.NotContains(t, m.Properties, "label39")
	var spilled map[string]string
	require.NoError(t, json.Unmarshal([]byte(m.Description), &spilled))
	require.Equal(t, labels["long"], spilled["long"], "a label goes whole or not at all")
	require.Equal(t, labels, image.Labels(m.Properties, m.Description))
}

func TestDescribeDropsWhatNothingHolds(t *testing.T) {
	m, err := image.Describe(image.Ref{Collection: "c", Image: "i", Tag: "t"}, ".sif",
		map[string]string{"huge": strings.Repeat("x", 1<<20), "large": strings.Repeat("y", 1000), "bad\xff": "\xfe"}, nil)
	require.NoError(t, err)
	within(t, m)
	require.Equal(t, []string{"huge"}, m.Dropped)
	require.Equal(t, "\uFFFD", m.Properties["bad\uFFFD"])
	require.Equal(t, strings.Repeat("y", 1000), image.Labels(m.Properties, m.Description)["large"])
}

func TestDescribeRefusesLongNames(t *testing.T) {
	// With a SHA-256 the property storage leaves 48 bytes for collection/image:tag.
	fits := image.Ref{Collection: "c", Image: strings.Repeat("x", 48-len("c/:tag")), Tag: "tag", Version: sha256Hex}
	m, err := image.Describe(fits, ".sif", nil, nil)
	require.NoError(t, err)
	within(t, m)
	long := fits
	long.Image += "yyy"
	_, err = image.Describe(long, ".sif", nil, nil)
	require.ErrorIs(t, err, image.ErrTooLong)
	require.ErrorContains(t, err, "at most 48 fit")
	require.ErrorContains(t, err, "cut 3")
	_, err = image.Describe(image.Ref{Collection: "c", Image: "../x", Tag: "t"}, ".sif", nil, nil)
	require.ErrorIs(t, err, image.ErrName)
}

func TestDescribeExtra(t *testing.T) {
	r := image.Ref{Collection: "c", Image: "i", Tag: "t"}
	m, err := image.Describe(r, ".sif", map[string]string{"k": "label"}, map[string]string{"k": "extra", "sregfs.x": "1"})
	require.NoError(t, err)
	require.Equal(t, "extra", m.Properties["k"])
	require.Equal(t, "1", m.Properties["sregfs.x"])
	require.Equal(t, map[string]string{"k": "label"}, image.Labels(m.Properties, m.Description))
	for _, extra := range []map[string]string{{"uri": "x"}, {"": "x"}, {"k": strings.Repeat("x", 124)}} {
		_, err := image.Describe(r, ".sif", nil, extra)
		require.ErrorIs(t, err, image.ErrName)
	}
	many := map[string]string{}
	for i := range 18 {
		many[fmt.Sprint(i)] = "x"
	}
	_, err = image.Describe(r, ".sif", nil, many)
	require.NoError(t, err)
	many["one too many"] = "x"
	_, err = image.Describe(r, ".sif", nil, many)
	require.ErrorIs(t, err, image.ErrTooLong)
}

func TestLabelsOfOtherClients(t *testing.T) {
	props := map[string]string{"type": "container", "uri": "u", "url": "u", "collection": "c", "image": "i", "tag": "t", "version": "v",
		"storage": "s", "original": "o", "registry": "r", "tag_uri": "t", "storage_uri": "s", "storage_version": "s",
		"sregfs.profile.0": "p", "org.label-schema.build-size": "544MB"}
	require.Equal(t, map[string]string{"org.label-schema.build-size": "544MB"}, image.Labels(props, "a text of my own"))
	require.Empty(t, image.Labels(nil, ""))
	require.Empty(t, image.Labels(nil, "{not JSON"))
	require.Empty(t, image.Labels(nil, `{"nested":{}}`))
}

func TestRetag(t *testing.T) {
	props := map[string]string{"type": "container", "uri": "c/i-old@" + md5Hex, "url": "c/i@" + md5Hex, "collection": "c", "image": "i",
		"tag": "old", "version": md5Hex, "storage": "c/i-old@" + md5Hex + ".simg", "maintainer": "ann@uni.edu", "sregfs.profile.0": "p"}
	p, err := image.Retag(props, image.Ref{Collection: "c", Image: "i", Tag: "New", Version: md5Hex}, ".simg")
	require.NoError(t, err)
	require.Equal(t, "c/i:new@"+md5Hex+".simg", p.Name)
	require.NotContains(t, p.Properties, "collection", "what stays is not sent")
	require.Nil(t, p.Description)
	after := apply(props, p)
	require.Equal(t, image.Ref{Collection: "c", Image: "i", Tag: "new", Version: md5Hex}, image.Identify(p.Name, after).Ref)
	require.Equal(t, "ann@uni.edu", after["maintainer"])
	require.Equal(t, "p", after["sregfs.profile.0"])
	require.NotContains(t, after, "url")

	again, err := image.Retag(after, image.Ref{Collection: "c", Image: "i", Tag: "new", Version: md5Hex}, ".simg")
	require.NoError(t, err)
	require.Empty(t, again.Properties)

	p, err = image.Retag(nil, image.Ref{Collection: "c", Image: "i", Tag: "t", Version: md5Hex}, ".sif")
	require.NoError(t, err, "a file uploaded by hand gets all it lacks")
	require.Equal(t, "container", *p.Properties["type"])

	full := map[string]string{}
	for i := range image.MaxProperties {
		full[fmt.Sprint("label", i)] = "x"
	}
	_, err = image.Retag(full, image.Ref{Collection: "c", Image: "i", Tag: "t"}, ".sif")
	require.ErrorIs(t, err, image.ErrTooLong)
	_, err = image.Retag(props, image.Ref{Collection: "c", Image: "i", Tag: strings.Repeat("t", 85), Version: md5Hex}, ".sif")
	require.ErrorIs(t, err, image.ErrTooLong)
}

func TestSetLabel(t *testing.T) {
	m, err := image.Describe(image.Ref{Collection: "c", Image: "i", Tag: "t", Version: md5Hex}, ".sif", map[string]string{"old": "1"}, nil)
	require.NoError(t, err)
	props, description := m.Properties, m.Description
	set := func(key string, value *string) {
		t.Helper()
		p, err := image.SetLabel(props, description, key, value)
		require.NoError(t, err)
		props = apply(props, p)
		if p.Description != nil {
			description = *p.Description
		}
		within(t, image.Metadata{Properties: props, Description: description})
		require.Equal(t, "container", props["type"])
		got, has := image.Labels(props, description)[key]
		require.Equal(t, value != nil, has)
		if value != nil {
			require.Equal(t, *value, got)
		}
		require.Equal(t, "1", image.Labels(props, description)["old"])
	}
	text := func(s string) *string { return &s }
	set("k", text("short"))
	require.Equal(t, "short", props["k"])
	set("k", text(strings.Repeat("x", 500)))
	require.NotContains(t, props, "k")
	set("k", text("short again"))
	require.Empty(t, image.Labels(nil, description))
	set("k", nil)
	set("k", nil)
	set("type", text("a label called type"))
	set("type", nil)
	set("empty", text(""))
	set("empty", nil)
	for i := range 30 {
		set(fmt.Sprint("label", i), text("x"))
	}

	long := strings.Repeat("x", 200)
	_, err = image.SetLabel(props, "somebody's own words", "k", &long)
	require.ErrorIs(t, err, image.ErrTooLong, "another's description is not overwritten")
	huge := strings.Repeat("x", 1<<16)
	_, err = image.SetLabel(props, "", "k", &huge)
	require.ErrorIs(t, err, image.ErrTooLong)
	_, err = image.SetLabel(props, "", "", &long)
	require.ErrorIs(t, err, image.ErrName)
}

// FuzzDescribe: what is pushed under a valid name is within Drive's limits, and reads back as what was meant.
func FuzzDescribe(f *testing.F) {
	f.Add("c/i:t@"+md5Hex, ".sif", "maintainer", "ann@uni.edu", "version", "1.0", 3)
	f.Add("c/i", ".simg", "uri", "", "\xff", strings.Repeat("x", 2000), 40)
	f.Fuzz(func(t *testing.T, name, ext, k1, v1, k2, v2 string, more int) {
		r, err := image.Parse(name)
		if _, known := image.SplitExt("x" + ext); err != nil || known == "" {
			return
		}
		labels := map[string]string{k1: v1, k2: v2}
		for i := range min(max(more, 0), 60) {
			labels[fmt.Sprint(k1, i)] = v2
		}
		_, ext = image.SplitExt("x" + ext)
		m, err := image.Describe(r, ext, labels, nil)
		if err != nil {
			require.ErrorIs(t, err, image.ErrTooLong)
			return
		}
		within(t, m)
		require.Equal(t, image.Identity{Ref: r, Ext: ext}, image.Identify(m.Name, m.Properties))
		require.Equal(t, image.Identity{Ref: r, Ext: ext}, image.Identify(m.Name, nil), "the file name alone says as much")
		require.Equal(t, image.Identity{Ref: r, Ext: ext}, image.Identify("x"+ext, map[string]string{"uri": m.Properties["uri"]}))
		want := map[string]string{}
		for k, v := range labels {
			want[strings.ToValidUTF8(k, "\uFFFD")] = strings.ToValidUTF8(v, "\uFFFD")
		}
		got := image.Labels(m.Properties, m.Description)
		if len(want) == len(labels) && len(m.Dropped) == 0 {
			require.Equal(t, want, got)
		}
		p, err := image.Retag(m.Properties, r, ext)
		require.NoError(t, err)
		require.Empty(t, p.Properties)
	})
}

// within fails unless Drive would take m.
func within(t *testing.T, m image.Metadata) {
	t.Helper()
	require.LessOrEqual(t, len(m.Properties), image.MaxProperties)
	for k, v := range m.Properties {
		require.NotEmpty(t, k)
		require.LessOrEqual(t, len(k)+len(v), image.MaxProperty, k)
	}
	require.LessOrEqual(t, len(m.Description), 16<<10)
}

// apply does to props what Drive does with a patch.
func apply(props map[string]string, p image.Patch) map[string]string {
	after := maps.Clone(props)
	for k, v := range p.Properties {
		if v == nil {
			delete(after, k)
			continue
		}
		after[k] = *v
	}
	return after
}
