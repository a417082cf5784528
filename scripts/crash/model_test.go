//go:build crash

package crash

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"sregfs/index/image/imagetest"
)

// maker makes images, no two alike, and knows each again by its MD5.
type maker struct {
	mu   sync.Mutex
	dice *rand.Rand       // guarded by mu
	made map[string]int64 // guarded by mu: size by MD5
	next uint64           // guarded by mu
}

func newMaker(seed uint64) *maker {
	return &maker{dice: rand.New(rand.NewPCG(seed, 1)), made: map[string]int64{}}
}

// content is an image of a size, 0 for one that the dice choose, and its MD5.
func (k *maker) content(size int64) (b []byte, sum string, err error) {
	k.mu.Lock()
	k.next++
	n := k.next
	if size == 0 {
		size = 64<<10 + k.dice.Int64N(2<<20)
		if k.dice.IntN(8) == 0 {
			size *= 4
		}
	}
	k.mu.Unlock()
	var buf bytes.Buffer
	if err := imagetest.WriteSIF(&buf, size, imagetest.Seed(n)); err != nil {
		return nil, "", err
	}
	return buf.Bytes(), k.known(buf.Bytes()), nil
}

// changed is content with some bytes changed in the middle, where they make it another image and no broken one.
func (k *maker) changed(content []byte) (b []byte, at int64, sum string) {
	k.mu.Lock()
	k.next++
	n := k.next
	k.mu.Unlock()
	b = slices.Clone(content)
	at = int64(len(b) / 2)
	binary.BigEndian.PutUint64(b[at:], n<<32^0x5ca1ab1e)
	return b, at, k.known(b)
}

func (k *maker) known(b []byte) (sum string) {
	sum = sumOf(b)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.made[sum] = int64(len(b))
	total.images.Add(1)
	return sum
}

// knows says whether there was an image of this sum and size.
func (k *maker) knows(sum string, size int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	n, ok := k.made[sum]
	return ok && n == size
}

func sumOf(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

// tags are the versions of each tag of one image, oldest first.
type tags map[string][]string

func (g tags) clone() tags {
	out := tags{}
	for tag, list := range g {
		if len(list) > 0 {
			out[tag] = slices.Clone(list)
		}
	}
	return out
}

// with is g after sum became the newest of tag.
func (g tags) with(tag, sum string) tags {
	g = g.clone()
	g[tag] = append(slices.DeleteFunc(g[tag], func(s string) bool { return s == sum }), sum)
	return g
}

// without is g after the newest of tag went.
func (g tags) without(tag string) tags {
	g = g.clone()
	if g[tag] = g[tag][:len(g[tag])-1]; len(g[tag]) == 0 {
		delete(g, tag)
	}
	return g
}

// moved is g after the first n of from's versions moved to the end of to.
func (g tags) moved(from, to string, n int) tags {
	g = g.clone()
	g[to] = append(g[to], g[from][:n]...)
	if g[from] = g[from][n:]; len(g[from]) == 0 {
		delete(g, from)
	}
	return g
}

func (g tags) newest(tag string) string {
	if list := g[tag]; len(list) > 0 {
		return list[len(list)-1]
	}
	return ""
}

func (g tags) holds(sum string) bool {
	for _, list := range g {
		if slices.Contains(list, sum) {
			return true
		}
	}
	return false
}

// same compares the versions of each tag, and which is the newest; Drive's order of the others is of no account.
func (g tags) same(o tags) bool {
	return maps.EqualFunc(g.clone(), o.clone(), func(a, b []string) bool {
		if a[len(a)-1] != b[len(b)-1] {
			return false
		}
		a, b = slices.Clone(a), slices.Clone(b)
		slices.Sort(a)
		slices.Sort(b)
		return slices.Equal(a, b)
	})
}

// name is one image name, whose history one worker makes.
type name struct {
	collection, image string

	has tags // acknowledged

	// What was under way when the mount died: any of these may be, or what has says.
	may []tags
	// The content that was written to the end and may be in Drive or else is a draft, "" if none: after a kill, and after
	// a power cut, which keeps what was synced.
	kept, synced string
	what         string // for people

	// The tags whose newest version was removed in this life: who removed it does not meet the version before for a while,
	// so that programs can replace a file by removing it first.
	removed map[string]bool
}

func (n *name) String() string { return n.collection + "/" + n.image }

// attempt notes what is about to be tried; done, that it succeeded.
func (n *name) attempt(what string, outcomes ...tags) {
	n.what, n.may, n.kept, n.synced = what, outcomes, "", ""
}

func (n *name) done() {
	n.has = n.may[len(n.may)-1]
	n.settle()
	total.operations.Add(1)
}

// settle forgets what was under way.
func (n *name) settle() { n.may, n.kept, n.synced = nil, "", "" }

func (n *name) allows(got tags) bool {
	return n.has.same(got) || slices.ContainsFunc(n.may, got.same)
}

// note is a plain file, which lives on this machine alone.
type note struct {
	has string // acknowledged; "" = none yet
	may string // was about to replace it, "" = nothing was
}
