package index

import (
	"bytes"
	"runtime"
	"sync"
	"time"
)

// loadFiles puts every image on record into the catalogue. A damaged record is dropped, and its file listed again.
func (ix *Index) loadFiles(root string) error {
	var damaged, foreign [][]byte
	ix.cat.mu.Lock()
	err := ix.eachImage(root, func(r readRecord) {
		switch {
		case r.err != nil:
			ix.log.Warnf("listing afresh: %v", r.err)
			damaged = append(damaged, fileKey(r.id))
		case r.img == nil:
			foreign = append(foreign, fileKey(r.id))
		default:
			ix.cat.put(r.id, r.img)
		}
	})
	ix.cat.mu.Unlock()
	if err != nil || len(damaged)+len(foreign) == 0 {
		return err
	}
	if len(damaged) > 0 {
		ix.remote.set(func(s *syncState) { s.token, s.relistShared = "", time.Time{} })
		damaged = append(damaged, metaKey(metaToken), metaKey(metaShared))
	}
	return ix.deleteKeys(append(damaged, foreign...))
}

// readRecord is a file record as it was read: err if it is damaged, no img if its folder was the registry's until a crash.
type readRecord struct {
	id  string
	img *Image
	err error
}

func (ix *Index) readRecord(id string, b []byte, root string) readRecord {
	rec, err := decodeFile(b)
	if err != nil || rec.ID != id {
		return readRecord{id: id, err: corrupt("file", b, err)}
	}
	f := rec.file()
	img, err := imageOf(f, root)
	if err != nil {
		return readRecord{id: id}
	}
	if ix.o.Poll < 0 { // it lives for one command, which will hardly do without: so each record is read once
		img.describe(f)
	}
	return readRecord{id: id, img: img.compact()}
}

// eachImage calls put with every file record, in the order of their keys, one at a time. Decoding them is most of what
// Open does with a large registry, so it is spread over the processors.
func (ix *Index) eachImage(root string, put func(readRecord)) error {
	type batch struct {
		ids    []string
		values [][]byte
		read   chan []readRecord // answered once
	}
	const size = 256
	decoders := runtime.GOMAXPROCS(0)
	todo, order := make(chan *batch, decoders), make(chan *batch, 2*decoders)
	var wg sync.WaitGroup
	for range decoders {
		wg.Go(func() {
			for b := range todo {
				out := make([]readRecord, len(b.ids))
				for i, id := range b.ids {
					out[i] = ix.readRecord(id, b.values[i], root)
				}
				b.read <- out
			}
		})
	}
	wg.Go(func() {
		for b := range order {
			for _, r := range <-b.read {
				put(r)
			}
		}
	})
	var next *batch
	send := func() {
		if next != nil {
			order <- next
			todo <- next
		}
		next = nil
	}
	err := eachKey(ix.db, kFile, func(id, value []byte) error {
		if next == nil {
			next = &batch{read: make(chan []readRecord, 1)}
		}
		next.ids, next.values = append(next.ids, string(id)), append(next.values, bytes.Clone(value)) // Badger's are gone with the next
		if len(next.ids) == size {
			send()
		}
		return nil
	})
	send()
	close(todo)
	close(order)
	wg.Wait()
	return err
}
