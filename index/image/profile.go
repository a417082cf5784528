package image

import (
	"cmp"
	"maps"
	"slices"
)

const (
	// ProfileBlock is what the ranges of a Profile are multiples of, in bytes. A start of scipy from a 240 MB image reads
	// 31.6 MB; in blocks of 64 KiB that is 36 MB in 45 ranges, in blocks of 256 KiB 43, of 1 MiB 60 MB. Smaller ranges
	// would not be worth their requests, and larger blocks save nothing: all of it fits in the properties three times.
	ProfileBlock = 64 << 10
	// MaxProfile bounds what a profile asks for, in bytes: the largest start seen, of matplotlib, reads 44 MB. It is a
	// second's worth of a gigabit line.
	MaxProfile = 128 << 20

	maxProfileBlocks = MaxProfile / ProfileBlock
)

// Profile is what a start of a container reads of an image: ranges of whole blocks of ProfileBlock bytes, but for the end
// of the image; they neither overlap nor touch, and the one that is needed first comes first. Fetching them at once, in
// this order, is what makes a cold start fast. A profile is advice: of a wrong one nothing comes but reads in vain.
type Profile []Span

// Bytes is how many bytes the ranges have together.
func (p Profile) Bytes() (n int64) {
	for _, s := range p {
		n += s.Len
	}
	return n
}

// Join returns p with the ranges made one that are at most gap bytes apart, at the place of the one that is needed first:
// fewer requests, for bytes that nobody asked for.
func (p Profile) Join(gap int64) Profile {
	order := make([]int, len(p)) // of the ranges, by offset
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(p[a].Off, p[b].Off) })
	joined := map[int]Span{} // by place
	place := -1
	for _, i := range order {
		s, last := p[i], joined[place]
		if place < 0 || s.Off-last.end() > gap {
			place = i
			joined[place] = s
			continue
		}
		delete(joined, place)
		place = min(place, i)
		joined[place] = Span{last.Off, max(last.end(), s.end()) - last.Off}
	}
	q := make(Profile, 0, len(joined))
	for _, i := range slices.Sorted(maps.Keys(joined)) {
		q = append(q, joined[i])
	}
	return q
}

// blocks calls yield for the numbers of the blocks of p, in order, until it returns false.
func (p Profile) blocks(yield func(int64) bool) {
	for _, s := range p {
		for b := s.Off / ProfileBlock; b*ProfileBlock < s.end(); b++ {
			if !yield(b) {
				return
			}
		}
	}
}

// MergeProfiles makes one profile of those of several starts of an image of size bytes. A block's place is the earliest
// it has in any of them, so what all starts begin with stays in front, and each start finds what it needs about when it
// would with a profile of its own.
func MergeProfiles(size int64, profiles ...Profile) Profile {
	first := map[int64]int{} // the earliest place of each block
	var seen []int64
	for _, p := range profiles {
		place := 0
		for b := range p.blocks {
			if place++; place > maxProfileBlocks {
				break
			}
			if at, ok := first[b]; !ok || place < at {
				if !ok {
					seen = append(seen, b)
				}
				first[b] = place
			}
		}
	}
	slices.SortStableFunc(seen, func(a, b int64) int { return cmp.Compare(first[a], first[b]) })
	r := NewRecording(size)
	for _, b := range seen {
		r.Read(b*ProfileBlock, ProfileBlock)
	}
	return r.Profile()
}

// Profiles are what is known of the starts of an image.
type Profiles struct {
	Recorded Profile // what starts read
	Static   Profile // what Startup names beside it
}

// Bytes is how many bytes both have together.
func (p Profiles) Bytes() int64 { return p.Recorded.Bytes() + p.Static.Bytes() }

// Merge is what p and q know together of the starts of an image of size bytes. Of what both have recorded, what is needed
// first in either is in front.
func (p Profiles) Merge(q Profiles, size int64) Profiles {
	return MergeProfiles(size, p.Recorded, q.Recorded).then(slices.Concat(p.Static, q.Static), size)
}

// then are the profiles of which p was recorded, and the ranges beside it were not.
func (p Profile) then(static []Span, size int64) Profiles {
	r := NewRecording(size)
	for _, s := range p {
		r.Read(s.Off, s.Len)
	}
	recorded := len(r.list)
	for _, s := range static {
		r.Read(s.Off, s.Len)
	}
	return Profiles{r.profile(r.list[:recorded]), r.profile(r.list[recorded:])}
}

// Record is p after a start that read what q names. The head of an image is the first that a start reads: one that begins
// elsewhere found the rest in the kernel's memory, so it goes behind what was read before.
func (p Profiles) Record(q Profile, size int64) Profiles {
	if len(q) > 0 && q[0].Off == 0 {
		return p.Merge(Profiles{Recorded: q}, size)
	}
	return slices.Concat(p.Recorded, q).then(p.Static, size)
}

// A Recording turns the reads of one start into a Profile. It is not safe for concurrent use. It takes no more memory
// than some 100 KB, whatever is read.
type Recording struct {
	size int64
	seen map[int64]struct{}
	list []int64 // the blocks seen, by first need
}

// NewRecording starts the recording of an image of size bytes.
func NewRecording(size int64) *Recording {
	return &Recording{size: size, seen: map[int64]struct{}{}}
}

// Read notes that n bytes from off were read. It returns false when MaxProfile is reached, beyond which nothing is noted:
// then it was no start but a copy, or a start that a profile helps little.
func (r *Recording) Read(off, n int64) bool {
	if off < 0 || off >= r.size || n <= 0 {
		return !r.Full()
	}
	last := (off + min(n, r.size-off) - 1) / ProfileBlock
	for b := off / ProfileBlock; b <= last; b++ {
		if r.Full() {
			return false
		}
		if _, ok := r.seen[b]; !ok {
			r.seen[b] = struct{}{}
			r.list = append(r.list, b)
		}
	}
	return !r.Full()
}

// Full says whether the recording has reached MaxProfile.
func (r *Recording) Full() bool { return len(r.list) >= maxProfileBlocks }

// Profile is what was recorded so far.
func (r *Recording) Profile() Profile { return r.profile(r.list) }

// profile is that of these blocks.
func (r *Recording) profile(list []int64) Profile {
	p := make(Profile, len(list))
	for i, b := range list {
		p[i] = Span{b * ProfileBlock, min(ProfileBlock, r.size-b*ProfileBlock)}
	}
	return p.Join(0)
}
