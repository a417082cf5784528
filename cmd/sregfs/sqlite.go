package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
)

// A reader of SQLite databases, for one table at a time and nothing else: the
// registry tool keeps its records in one. The format is that of
// https://www.sqlite.org/fileformat2.html: pages, of which page 1 begins with a
// header and is the root of the table of tables; a table is a B-tree whose leaves
// hold the rows; what does not fit into a page goes on in a list of others.

var errSQLite = errors.New("it is no SQLite database, or a damaged one")

// Bounds of what is read, against files that lie.
const (
	sqliteRows  = 1_000_000
	sqliteValue = 16 << 20 // bytes of one row
	sqliteDepth = 20       // levels of a tree
)

// sqliteFile is an open database.
type sqliteFile struct {
	r      io.ReaderAt
	page   int64 // bytes
	usable int64 // bytes of a page that hold data
	pages  int64
	seen   map[int64]bool // pages of the tree that was walked: none may come twice
}

func openSQLite(r io.ReaderAt, size int64) (*sqliteFile, error) {
	head := make([]byte, 100)
	if _, err := r.ReadAt(head, 0); err != nil || string(head[:16]) != "SQLite format 3\x00" {
		return nil, errSQLite
	}
	db := &sqliteFile{r: r, page: int64(binary.BigEndian.Uint16(head[16:]))}
	if db.page == 1 {
		db.page = 65536
	}
	db.usable = db.page - int64(head[20])
	if db.page < 512 || db.page&(db.page-1) != 0 || db.usable < 480 {
		return nil, errSQLite
	}
	if encoding := binary.BigEndian.Uint32(head[56:]); encoding > 1 {
		return nil, errors.New("it holds text that is not UTF-8")
	}
	db.pages = size / db.page
	return db, nil
}

// table calls row with each row of the table, by the names of the columns. Values
// are text, int64, float64, or nil; bytes are given as text.
func (db *sqliteFile) table(name string, row func(map[string]any)) error {
	var root int64
	var columns []string
	err := db.walk(1, func(_ int64, v []any) {
		if len(v) < 5 || v[0] != "table" {
			return
		}
		if of, _ := v[2].(string); strings.EqualFold(of, name) {
			root, _ = v[3].(int64)
			sql, _ := v[4].(string)
			columns = columnNames(sql)
		}
	})
	if err != nil {
		return err
	}
	if root == 0 {
		return fmt.Errorf("it has no table %s", name)
	}
	return db.walk(root, func(id int64, v []any) {
		out := map[string]any{}
		for i, col := range columns {
			if i < len(v) {
				out[col] = v[i]
			}
		}
		if out["id"] == nil {
			out["id"] = id // an integer primary key is the row's number
		}
		row(out)
	})
}

// columnName is the first word of a column's definition, quoted or not.
var columnName = regexp.MustCompile("^(?:\"([^\"]+)\"|`([^`]+)`|\\[([^\\]]+)\\]|(\\w+))")

// columnNames reads the names of the columns from CREATE TABLE name (a …, b …).
func columnNames(sql string) []string {
	start, end := strings.IndexByte(sql, '('), strings.LastIndexByte(sql, ')')
	if start < 0 || end < start {
		return nil
	}
	var names []string
	depth, from := 0, start+1
	for i := start + 1; i <= end; i++ {
		switch {
		case sql[i] == '(':
			depth++
		case sql[i] == ')' && i < end:
			depth--
		case i == end || sql[i] == ',' && depth == 0:
			m := columnName.FindStringSubmatch(strings.TrimSpace(sql[from:i]))
			from = i + 1
			if m == nil {
				continue
			}
			name := strings.ToLower(m[1] + m[2] + m[3] + m[4])
			switch strings.ToUpper(m[4]) {
			case "CONSTRAINT", "UNIQUE", "PRIMARY", "FOREIGN", "CHECK": // of the table
				continue
			}
			names = append(names, name)
		}
	}
	return names
}

// walk calls row with each row of the tree at page root.
func (db *sqliteFile) walk(root int64, row func(id int64, values []any)) error {
	db.seen = map[int64]bool{}
	rows := 0
	return db.node(root, sqliteDepth, func(id int64, values []any) error {
		if rows++; rows > sqliteRows {
			return fmt.Errorf("it has more than %d rows", sqliteRows)
		}
		row(id, values)
		return nil
	})
}

func (db *sqliteFile) read(number int64) ([]byte, error) {
	if number < 1 || number > db.pages || db.seen[number] {
		return nil, errSQLite
	}
	db.seen[number] = true
	p := make([]byte, db.page)
	if _, err := db.r.ReadAt(p, (number-1)*db.page); err != nil {
		return nil, errSQLite
	}
	return p, nil
}

// Kinds of pages of a table's tree.
const (
	sqliteInterior = 0x05
	sqliteLeaf     = 0x0d
)

func (db *sqliteFile) node(number int64, depth int, row func(int64, []any) error) error {
	if depth == 0 {
		return errSQLite
	}
	p, err := db.read(number)
	if err != nil {
		return err
	}
	at := 0
	if number == 1 {
		at = 100
	}
	kind, cells := p[at], int(binary.BigEndian.Uint16(p[at+3:]))
	pointers := at + 8
	if kind == sqliteInterior {
		pointers += 4
	} else if kind != sqliteLeaf {
		return errSQLite
	}
	if pointers+2*cells > int(db.usable) {
		return errSQLite
	}
	for i := range cells {
		cell := int(binary.BigEndian.Uint16(p[pointers+2*i:]))
		if cell+4 > int(db.usable) {
			return errSQLite
		}
		if kind == sqliteInterior {
			if err := db.node(int64(binary.BigEndian.Uint32(p[cell:])), depth-1, row); err != nil {
				return err
			}
			continue
		}
		if err := db.cell(p[cell:db.usable], row); err != nil {
			return err
		}
	}
	if kind == sqliteInterior {
		return db.node(int64(binary.BigEndian.Uint32(p[at+8:])), depth-1, row)
	}
	return nil
}

// cell reads one row of a leaf.
func (db *sqliteFile) cell(c []byte, row func(int64, []any) error) error {
	length, n := sqliteVarint(c)
	id, m := sqliteVarint(c[n:])
	if n == 0 || m == 0 || length < 0 || length > sqliteValue {
		return errSQLite
	}
	payload, err := db.payload(c[n+m:], length)
	if err != nil {
		return err
	}
	values, err := sqliteRecord(payload)
	if err != nil {
		return err
	}
	return row(id, values)
}

// payload gathers the length bytes of a row: those in the page, here, then those
// of the overflow pages.
func (db *sqliteFile) payload(here []byte, length int64) ([]byte, error) {
	local := length
	if most := db.usable - 35; length > most {
		least := (db.usable-12)*32/255 - 23
		local = least + (length-least)%(db.usable-4)
		if local > most {
			local = least
		}
	}
	if local > int64(len(here)) || local < length && local+4 > int64(len(here)) {
		return nil, errSQLite
	}
	if local == length {
		return here[:length], nil
	}
	out := append(make([]byte, 0, length), here[:local]...)
	next := int64(binary.BigEndian.Uint32(here[local:]))
	for int64(len(out)) < length {
		p, err := db.read(next)
		if err != nil {
			return nil, err
		}
		next = int64(binary.BigEndian.Uint32(p))
		out = append(out, p[4:min(db.usable, 4+length-int64(len(out)))]...)
	}
	return out, nil
}

// sqliteRecord reads the values of a row.
func sqliteRecord(p []byte) ([]any, error) {
	head, n := sqliteVarint(p)
	if n == 0 || head < int64(n) || head > int64(len(p)) {
		return nil, errSQLite
	}
	types, body := p[n:head], p[head:]
	var values []any
	for len(types) > 0 {
		kind, n := sqliteVarint(types)
		if n == 0 || kind < 0 {
			return nil, errSQLite
		}
		types = types[n:]
		size := sqliteSize(kind)
		if size > int64(len(body)) {
			return nil, errSQLite
		}
		values = append(values, sqliteValueOf(kind, body[:size]))
		body = body[size:]
	}
	return values, nil
}

// sqliteSize is how many bytes a value of the kind takes.
func sqliteSize(kind int64) int64 {
	switch {
	case kind >= 12:
		return (kind - 12) / 2
	case kind >= 8:
		return 0
	}
	return [...]int64{0, 1, 2, 3, 4, 6, 8, 8}[kind]
}

func sqliteValueOf(kind int64, b []byte) any {
	switch {
	case kind >= 12:
		return string(b)
	case kind == 0 || kind > 9:
		return nil
	case kind == 7:
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	case kind >= 8:
		return kind - 8
	}
	v := int64(int8(b[0]))
	for _, c := range b[1:] {
		v = v<<8 | int64(c)
	}
	return v
}

// sqliteVarint reads a number of up to nine bytes; n is 0 if b is too short.
func sqliteVarint(b []byte) (v int64, n int) {
	var u uint64
	for i, c := range b {
		if i == 8 {
			return int64(u<<8 | uint64(c)), 9
		}
		u = u<<7 | uint64(c&0x7f)
		if c < 0x80 {
			return int64(u), i + 1
		}
	}
	return 0, 0
}
