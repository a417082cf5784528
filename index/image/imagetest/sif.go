package imagetest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// Numbers of the SIF format, and the layout Apptainer gives its files.
const (
	launch          = "#!/usr/bin/env run-singularity\n"
	headerSize      = 128
	descriptorSize  = 585
	descriptors     = 48
	tableOffset     = 4096
	dataOffset      = tableOffset + descriptors*descriptorSize
	kindDeffile     = 0x4001
	kindPartition   = 0x4004
	kindJSON        = 0x4006
	group           = 0xf0000001
	partitionPage   = 4096
	madeAt          = 1577836800 // 2020-01-01, in Unix seconds
	fsSquashfs      = 1
	rolePrimary     = 2
	inspectJSONName = "inspect-metadata.json"
)

type object struct {
	kind  int32
	name  string
	extra []byte
	off   int64
	size  int64
}

// WriteSIF writes a SIF of exactly size bytes to w, in one pass and constant memory.
func WriteSIF(w io.Writer, size int64, opts ...Option) error {
	c := newContent(opts)
	var data bytes.Buffer // of the small objects, behind the descriptors
	var objects []object
	add := func(kind int32, name string, b []byte) {
		objects = append(objects, object{kind: kind, name: name, off: dataOffset + int64(data.Len()), size: int64(len(b))})
		data.Write(b)
	}
	add(kindDeffile, "", []byte(deffile))
	if !c.old {
		add(kindJSON, inspectJSONName, c.inspectJSON())
	}
	start := (dataOffset + int64(data.Len()) + partitionPage - 1) / partitionPage * partitionPage
	fs, err := newSquashfs(c, size-start)
	if err != nil {
		return fmt.Errorf("SIF of %d bytes: %w", size, err)
	}
	arch := []byte("02\x00")
	extra := binary.LittleEndian.AppendUint32(nil, fsSquashfs)
	extra = binary.LittleEndian.AppendUint32(extra, rolePrimary)
	objects = append(objects, object{kind: kindPartition, name: "rootfs", extra: append(extra, arch...), off: start, size: size - start})

	head := make([]byte, start)
	h := bytes.NewBuffer(head[:0])
	h.WriteString(launch + "\x00SIF_MAGIC\x0001\x00")
	h.Write(arch)
	h.Write(Bytes(uint64(c.seed)+1, 16)) // its id
	for _, n := range []int64{madeAt, madeAt, descriptors - int64(len(objects)), descriptors, tableOffset,
		descriptors * descriptorSize, dataOffset, size - dataOffset} {
		put(h, n)
	}
	for i, o := range objects {
		at := tableOffset + i*descriptorSize
		d := bytes.NewBuffer(head[at:at])
		put(d, o.kind, true, uint32(i+1), uint32(group), uint32(0), o.off, o.size, o.size, int64(madeAt), int64(madeAt), int64(0), int64(0))
		copy(head[at+d.Len():], o.name)
		copy(head[at+d.Len()+128:], o.extra)
	}
	copy(head[dataOffset:], data.Bytes())
	if _, err := w.Write(head); err != nil {
		return err
	}
	return fs.write(w)
}

// WriteSimg writes a Singularity 2 image of exactly size bytes to w, in one pass and constant memory.
func WriteSimg(w io.Writer, size int64, opts ...Option) error {
	fs, err := newSquashfs(newContent(opts), size-int64(len(launch)))
	if err != nil {
		return fmt.Errorf("simg of %d bytes: %w", size, err)
	}
	if _, err := io.WriteString(w, launch); err != nil {
		return err
	}
	return fs.write(w)
}

// What the images hold besides their labels.
const (
	deffile     = "Bootstrap: localimage\nFrom: /srv/rootfs\n\n%runscript\n    echo hello\n"
	runscript   = "#!/bin/sh\necho hello\n"
	help        = "An image made for tests.\n"
	environment = "#!/bin/sh\nexport LC_ALL=C\n"
)

func (c content) inspectJSON() []byte {
	attributes := map[string]any{
		"labels": c.labels, "deffile": deffile, "runscript": runscript, "helpfile": help,
		"environment": map[string]string{"/.singularity.d/env/90-environment.sh": environment},
	}
	return mustJSON(map[string]any{"data": map[string]any{"attributes": attributes}, "type": "container"})
}

func (c content) labelsJSON() []byte {
	if c.labels == nil {
		return []byte("{}")
	}
	return mustJSON(c.labels)
}

// mustJSON encodes maps of strings, which always works.
func mustJSON(v any) []byte {
	b, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		panic(err)
	}
	return b
}

// put appends fixed-size values, little-endian.
func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		if err := binary.Write(b, binary.LittleEndian, v); err != nil {
			panic(err) // a bytes.Buffer takes everything, and the callers give fixed sizes only
		}
	}
}
