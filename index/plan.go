package index

import "sregfs/index/image"

// A profile is asked for a part at a time, as long as a start reads what it names: that of an image with many programs
// holds the starts of all of them. In bytes:
const (
	// profileLead is how far in front of the reads is asked for. Starts read some 50 MB/s of what is there, so it is enough
	// for lines of 300 ms; the small starts of an image, which come first in a merged profile, get little more than they need.
	profileLead = 16 << 20
	// profileTrust is how much may be asked for, beside profileLead, for each byte of it that was read: a wrong profile, or
	// a start that goes another way, ends soon.
	profileTrust = 4
	// profilePiece is the longest span that is asked for as one.
	profilePiece = 4 << 20
)

// profileRequests is how many requests a profile should take: twice as many as may be in the air for it. Ranges that lie
// near each other are joined until that is so.
const profileRequests = 32

// profileGaps are how near that may be. From 128 KiB to 2 MiB starts take the same time within a few percent.
var profileGaps = []int64{0, blockSize, 2 * blockSize, 4 * blockSize, 8 * blockSize, 16 * blockSize}

// plan is how far a profile has been asked for. Places in it are counted in bytes: how much is needed before.
type plan struct {
	spans    []image.Span
	at       []int64         // the places of spans
	place    map[int64]int64 // of the blocks of image.ProfileBlock that the profile names; it does not change
	recorded int64           // from this place on it was not recorded
	asked    int             // so many of spans
	used     int64           // bytes of it that were read
	reach    int64           // the farthest place read
}

func newPlan(known image.Profiles) *plan {
	p := &plan{place: map[int64]int64{}}
	p.add(known.Recorded)
	p.recorded = int64(len(p.place)) * image.ProfileBlock
	p.add(known.Static)
	return p
}

// add appends a profile, in ranges that are worth their requests.
func (p *plan) add(profile image.Profile) {
	for _, s := range profile {
		for b := s.Off / image.ProfileBlock; b*image.ProfileBlock < s.Off+s.Len; b++ {
			p.place[b] = int64(len(p.place)) * image.ProfileBlock
		}
	}
	joined := profile
	for _, gap := range profileGaps {
		if joined = profile.Join(gap); len(joined) <= profileRequests {
			break
		}
	}
	for _, s := range pieces(joined) {
		first, end := int64(-1), s.Off+s.Len
		for b := s.Off / image.ProfileBlock; b*image.ProfileBlock < end; b++ {
			if at, ok := p.place[b]; ok && (first < 0 || at < first) {
				first = at
			}
		}
		p.spans, p.at = append(p.spans, s), append(p.at, first)
	}
}

// pieces are spans of at most profilePiece bytes.
func pieces(spans []image.Span) (out []image.Span) {
	for _, s := range spans {
		for end := s.Off + s.Len; s.Off < end; s.Off += profilePiece {
			out = append(out, image.Span{Off: s.Off, Len: min(profilePiece, end-s.Off)})
		}
	}
	return out
}

// has says whether the plan names block b of image.ProfileBlock.
func (p *plan) has(b int64) bool {
	_, ok := p.place[b]
	return ok
}

// met notes that block b is read for the first time.
func (p *plan) met(b int64) {
	at, ok := p.place[b]
	if !ok {
		return
	}
	p.used += image.ProfileBlock
	p.reach = max(p.reach, at)
}

// begin returns what to ask for when the image is opened, again if it was opened before.
func (p *plan) begin() []image.Span {
	p.asked = 0
	return p.next()
}

// next returns what to ask for now.
func (p *plan) next() []image.Span {
	limit := min(p.reach+max(p.reach, profileLead), profileLead+profileTrust*p.used)
	if p.reach < p.recorded { // starts go where others went; what else the image names counts from the first such read on
		limit = min(limit, p.recorded)
	}
	from := p.asked
	for p.asked < len(p.spans) && p.at[p.asked] < limit {
		p.asked++
	}
	return p.spans[from:p.asked]
}

// done says whether all of it was asked for.
func (p *plan) done() bool { return p.asked == len(p.spans) }
