package image

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// This file is the form in which a profile travels with its image, in public properties of the Drive file. The package
// documentation describes it.
const (
	profilePrefix  = ownPrefix + "profile."
	profileVersion = 1
	// profileWidth is what one property holds, in base64 characters; the keys have one digit.
	profileWidth = MaxProperty - len(profilePrefix) - 1
	// maxProfileGap is the largest gap between ranges that is filled to make a profile fit: at 40 MB/s it costs 50 ms,
	// less than the request it saves.
	maxProfileGap = 2 << 20
)

// profileKey is the key of the property that holds part i.
func profileKey(i int) string { return profilePrefix + strconv.Itoa(i) }

// IsProfile tells whether the property key is part of a start-up profile.
func IsProfile(key string) bool { return strings.HasPrefix(key, profilePrefix) }

// Properties returns the properties that hold p, profiles of an image of size bytes; none if both are empty. What does not
// fit in freeProperties of them is first joined, at the cost of bytes, and then cut off at the end.
func (p Profiles) Properties(size int64) map[string]string {
	return p.properties(size, freeProperties)
}

// properties is Properties in at most n properties.
func (p Profiles) properties(size int64, n int) map[string]string {
	props := map[string]string{}
	text := p.text(size, n*profileWidth)
	for i := 0; text != ""; i++ {
		part := text[:min(len(text), profileWidth)]
		props[profileKey(i)] = part
		text = text[len(part):]
	}
	return props
}

// text is p in at most n characters, "" if that is nothing.
func (p Profiles) text(size int64, n int) string {
	room := base64.RawURLEncoding.DecodedLen(n)
	code := p.encode(size, room)
	for gap := int64(ProfileBlock); code.cut && gap <= maxProfileGap; gap *= 2 {
		code = Profiles{p.Recorded.Join(gap), p.Static.Join(gap)}.encode(size, room)
	}
	if code.ranges == 0 {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(code.bytes)
}

// profileCode is an encoded profile.
type profileCode struct {
	bytes  []byte
	ranges int  // how many are in it
	cut    bool // not all are
}

// Encode is all of p, profiles of an image of size bytes, for DecodeProfiles: what the properties hold, at any length.
func (p Profiles) Encode(size int64) []byte { return p.encode(size, math.MaxInt).bytes }

// encode writes as many ranges as fit in room bytes.
func (p Profiles) encode(size int64, room int) (c profileCode) {
	head := binary.AppendUvarint([]byte{profileVersion}, uint64(profileBlocks(size)))
	room -= len(binary.AppendUvarint(head, uint64(len(p.Recorded))))
	end, recorded := int64(0), 0
	var ranges []byte
	for i, s := range slices.Concat(p.Recorded, p.Static) {
		first, n := s.Off/ProfileBlock, profileBlocks(s.Len)
		next := binary.AppendUvarint(binary.AppendVarint(ranges, first-end), uint64(n-1))
		if len(next) > room {
			c.cut = true
			break
		}
		ranges, end = next, first+n
		c.ranges++
		if i < len(p.Recorded) {
			recorded++
		}
	}
	c.bytes = append(binary.AppendUvarint(head, uint64(recorded)), ranges...)
	return c
}

// profileBlocks is how many blocks n bytes take.
func profileBlocks(n int64) int64 { return (n + ProfileBlock - 1) / ProfileBlock }

// ParseProfiles reads the profiles of an image of size bytes from its properties; they are empty if there are none.
// ErrUnsupported if they have a later version, ErrCorrupt if they are damaged, or were made of other content. Whatever the
// properties hold, profiles stay inside the image and together within MaxProfile.
func ParseProfiles(props map[string]string, size int64) (Profiles, error) {
	var text strings.Builder
	for i := range freeProperties {
		part := props[profileKey(i)]
		if len(part) > profileWidth {
			return Profiles{}, fmt.Errorf("%w: start-up profile", ErrCorrupt)
		}
		text.WriteString(part)
		if len(part) < profileWidth {
			break
		}
	}
	b, err := base64.RawURLEncoding.DecodeString(text.String())
	switch {
	case err != nil:
		return Profiles{}, fmt.Errorf("%w: start-up profile: %w", ErrCorrupt, err)
	case len(b) == 0:
		return Profiles{}, nil
	}
	return DecodeProfiles(b, size)
}

// DecodeProfiles reads what Encode wrote. Errors are those of ParseProfiles.
func DecodeProfiles(b []byte, size int64) (Profiles, error) {
	if len(b) > 0 && b[0] != profileVersion {
		return Profiles{}, fmt.Errorf("start-up profile of version %d: %w", b[0], ErrUnsupported)
	}
	var head [2]uint64 // blocks of the image, ranges that were recorded
	at := 1
	for i := range head {
		v, n := binary.Uvarint(b[min(at, len(b)):])
		if n <= 0 {
			return Profiles{}, fmt.Errorf("%w: start-up profile", ErrCorrupt)
		}
		head[i] = v
		at += n
	}
	blocks := head[0]
	if blocks != uint64(profileBlocks(size)) {
		return Profiles{}, fmt.Errorf("%w: start-up profile of another image", ErrCorrupt)
	}
	r := NewRecording(size)
	end, recorded := int64(0), 0
	for i := uint64(0); at < len(b); i++ {
		step, n := binary.Varint(b[at:])
		if n <= 0 {
			return Profiles{}, fmt.Errorf("%w: start-up profile", ErrCorrupt)
		}
		more, m := binary.Uvarint(b[at+n:])
		if m <= 0 {
			return Profiles{}, fmt.Errorf("%w: start-up profile", ErrCorrupt)
		}
		at += n + m
		first := end + step
		if first < 0 || first >= int64(blocks) || more >= blocks-uint64(first) {
			return Profiles{}, fmt.Errorf("%w: start-up profile goes beyond the image", ErrCorrupt)
		}
		end = first + int64(more) + 1
		r.Read(first*ProfileBlock, (end-first)*ProfileBlock)
		if i < head[1] {
			recorded = len(r.list)
		}
	}
	return Profiles{r.profile(r.list[:recorded]), r.profile(r.list[recorded:])}, nil
}

// SetProfiles returns the patch that gives a file with these properties the profiles p, for its image of size bytes, in
// place of those it has; empty ones take them away. The patch has no properties if nothing changes. If something does,
// it says all of the profiles, so that of two that are set at the same time one is left, not parts of both. If
// others have taken the room, the profiles are the shorter.
func SetProfiles(props map[string]string, p Profiles, size int64) Patch {
	taken := 0
	for k := range props {
		if !IsProfile(k) {
			taken++
		}
	}
	want := p.properties(size, max(0, min(freeProperties, MaxProperties-taken)))
	patch := Patch{Properties: map[string]*string{}}
	changes := false
	for k, old := range props {
		if IsProfile(k) && want[k] != old {
			patch.Properties[k] = nil
			changes = true
		}
	}
	for k, v := range want {
		patch.Properties[k] = &v
		changes = changes || props[k] != v
	}
	if !changes {
		return Patch{Properties: map[string]*string{}}
	}
	for i := range freeProperties {
		if k := profileKey(i); patch.Properties[k] == nil {
			patch.Properties[k] = nil
		}
	}
	return patch
}

// reserved is how many properties count as taken: all, and those that are kept free for the profile.
func reserved(props map[string]string) int {
	n := freeProperties
	for k := range props {
		if !IsProfile(k) {
			n++
		}
	}
	return n
}
