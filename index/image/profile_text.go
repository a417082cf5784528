package image

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// This file is the form in which a profile travels with its image, in public properties of the Drive file. The package
// documentation describes it.
const (
	profilePrefix = ownPrefix + "profile."
	// profileWidth is what one property holds, in base64 characters; the keys have one digit.
	profileWidth = MaxProperty - len(profilePrefix) - 1
	// maxProfileGap is the largest gap between ranges that is filled to make a profile fit: at 40 MB/s it costs 50 ms,
	// less than the request it saves.
	maxProfileGap = 2 << 20
)

// Origin is what a profile was made of. It is the version of its coded form, too.
type Origin byte

// The origins of profiles.
const (
	Recorded Origin = 1 // what starts read
	Static   Origin = 2 // the image alone: Startup
)

func (o Origin) String() string {
	switch o {
	case Recorded:
		return "recorded"
	case Static:
		return "static"
	}
	return "none"
}

// profileKey is the key of the property that holds part i.
func profileKey(i int) string { return profilePrefix + strconv.Itoa(i) }

// IsProfile tells whether the property key is part of a start-up profile.
func IsProfile(key string) bool { return strings.HasPrefix(key, profilePrefix) }

// Properties returns the properties that hold p, a profile of an image of size bytes; none if p is empty. What does not
// fit in freeProperties of them is first joined, at the cost of bytes, and then cut off at the end.
func (p Profile) Properties(from Origin, size int64) map[string]string {
	return p.properties(from, size, freeProperties)
}

// properties is Properties in at most n properties.
func (p Profile) properties(from Origin, size int64, n int) map[string]string {
	props := map[string]string{}
	text := p.text(from, size, n*profileWidth)
	for i := 0; text != ""; i++ {
		part := text[:min(len(text), profileWidth)]
		props[profileKey(i)] = part
		text = text[len(part):]
	}
	return props
}

// text is p in at most n characters, "" if that is nothing.
func (p Profile) text(from Origin, size int64, n int) string {
	room := base64.RawURLEncoding.DecodedLen(n)
	code := p.encode(from, size, room)
	for gap := int64(ProfileBlock); code.cut && gap <= maxProfileGap; gap *= 2 {
		code = p.Join(gap).encode(from, size, room)
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

// Encode is all of p, a profile of an image of size bytes, for DecodeProfile: what the properties hold, at any length.
func (p Profile) Encode(from Origin, size int64) []byte {
	return p.encode(from, size, math.MaxInt).bytes
}

// encode writes as many ranges as fit in room bytes.
func (p Profile) encode(from Origin, size int64, room int) (c profileCode) {
	c.bytes = binary.AppendUvarint([]byte{byte(from)}, uint64(profileBlocks(size)))
	end := int64(0)
	for _, s := range p {
		first, n := s.Off/ProfileBlock, profileBlocks(s.Len)
		next := binary.AppendUvarint(binary.AppendVarint(c.bytes, first-end), uint64(n-1))
		if len(next) > room {
			c.cut = true
			return c
		}
		c.bytes, end = next, first+n
		c.ranges++
	}
	return c
}

// profileBlocks is how many blocks n bytes take.
func profileBlocks(n int64) int64 { return (n + ProfileBlock - 1) / ProfileBlock }

// ParseProfile reads the profile of an image of size bytes from its properties; nil if there is none. ErrUnsupported if it
// has a later version, ErrCorrupt if it is damaged, or was made of other content. Whatever the properties hold, a profile
// stays inside the image and within MaxProfile.
func ParseProfile(props map[string]string, size int64) (Profile, Origin, error) {
	var text strings.Builder
	for i := range freeProperties {
		part := props[profileKey(i)]
		if len(part) > profileWidth {
			return nil, 0, fmt.Errorf("%w: start-up profile", ErrCorrupt)
		}
		text.WriteString(part)
		if len(part) < profileWidth {
			break
		}
	}
	b, err := base64.RawURLEncoding.DecodeString(text.String())
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("%w: start-up profile: %w", ErrCorrupt, err)
	case len(b) == 0:
		return nil, 0, nil
	}
	return DecodeProfile(b, size)
}

// DecodeProfile reads what Encode wrote. Errors are those of ParseProfile.
func DecodeProfile(b []byte, size int64) (Profile, Origin, error) {
	if len(b) == 0 {
		return nil, 0, fmt.Errorf("%w: empty start-up profile", ErrCorrupt)
	}
	from := Origin(b[0])
	if from != Recorded && from != Static {
		return nil, 0, fmt.Errorf("start-up profile of version %d: %w", b[0], ErrUnsupported)
	}
	p, err := decodeRanges(b[1:], size)
	if err != nil {
		return nil, 0, err
	}
	return p, from, nil
}

// decodeRanges reads the form behind the version.
func decodeRanges(b []byte, size int64) (Profile, error) {
	blocks, n := binary.Uvarint(b)
	if n <= 0 || blocks != uint64(profileBlocks(size)) {
		return nil, fmt.Errorf("%w: start-up profile of another image", ErrCorrupt)
	}
	r := NewRecording(size)
	end := int64(0)
	for b = b[n:]; len(b) > 0; {
		step, n := binary.Varint(b)
		if n <= 0 {
			return nil, fmt.Errorf("%w: start-up profile", ErrCorrupt)
		}
		more, m := binary.Uvarint(b[n:])
		if m <= 0 {
			return nil, fmt.Errorf("%w: start-up profile", ErrCorrupt)
		}
		b = b[n+m:]
		first := end + step
		if first < 0 || first >= int64(blocks) || more >= blocks-uint64(first) {
			return nil, fmt.Errorf("%w: start-up profile goes beyond the image", ErrCorrupt)
		}
		end = first + int64(more) + 1
		r.Read(first*ProfileBlock, (end-first)*ProfileBlock)
	}
	return r.Profile(), nil
}

// SetProfile returns the patch that gives a file with these properties the profile p, for its image of size bytes, in
// place of the one it has; an empty p takes that away. The patch has no properties if nothing changes. If something does,
// it says all of the profile, so that of two profiles that are set at the same time one is left, not parts of both. If
// others have taken the room, the profile is the shorter.
func SetProfile(props map[string]string, p Profile, from Origin, size int64) Patch {
	taken := 0
	for k := range props {
		if !IsProfile(k) {
			taken++
		}
	}
	want := p.properties(from, size, max(0, min(freeProperties, MaxProperties-taken)))
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
