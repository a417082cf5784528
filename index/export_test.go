package index

// DraftFile is the path of d's bytes, for tests that change them behind its back.
func DraftFile(ix *Index, d *Draft) string { return ix.drafts.path(d.id) }
