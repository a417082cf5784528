package index

// Held says how much of an image is on this machine.
type Held struct {
	Bytes  int64 `json:"bytes"`
	Pinned bool  `json:"pinned"`
}

// Held says how much of img the cache holds, and whether it stays when room is made.
func (ix *Index) Held(img Image) Held { return Held{Bytes: ix.Cached(img), Pinned: ix.Pinned(img)} }
