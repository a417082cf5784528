package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"path"
	"strings"
	"time"
)

// maxObject bounds the JSON and text objects of a SIF that are read, in bytes.
const maxObject = 4 << 20

// metaDir is where Singularity keeps what it knows of an image, inside the image.
const metaDir = "/.singularity.d"

// Info is what an image says of itself. What it does not say is the zero value.
type Info struct {
	Format    Format
	Arch      string            // GOARCH
	Labels    map[string]string // never nil
	Created   time.Time         // UTC
	Signed    bool              // holds a signature; nobody verified it
	Encrypted bool
}

// Inspect looks into an image of size bytes. The labels of a SIF come from its JSON objects, those of an older SIF, a
// Singularity 2 image or a squashfs from /.singularity.d/labels.json. An unknown format is no error, nor are labels
// that are not there. On ErrTruncated, ErrCorrupt or ErrUnsupported Info holds what could be read; other errors are
// those of r. Memory and time are bounded whatever the file holds. Some three reads are made of r for a SIF.
func Inspect(r io.ReaderAt, size int64) (Info, error) {
	im, err := open(r, size)
	if im == nil {
		return Info{Labels: map[string]string{}}, err
	}
	defer im.close()
	in := im.info
	in.Labels = map[string]string{}
	if err != nil {
		return in, err
	}
	in.Labels, err = im.labels()
	return in, err
}

// Metafiles reads what `apptainer inspect --all` shows: from the JSON object of a SIF, else from the files in
// /.singularity.d. What an image lacks is empty. Errors and bounds are those of Inspect; where those files are needed, and
// in a file system that is not read (encrypted, say), it is ErrUnsupported, with what the rest of the image says.
func Metafiles(r io.ReaderAt, size int64) (Meta, error) {
	im, err := open(r, size)
	if im == nil {
		return Meta{}, err
	}
	defer im.close()
	if err != nil {
		return Meta{}, err
	}
	return im.meta()
}

// opened is an image whose headers have been read.
type opened struct {
	src  *source
	info Info
	sif  *sifFile  // nil if it is none
	fs   *squashfs // nil if it has none we can read
	why  error     // why not, if it has one
}

var errNoSquashfs = fmt.Errorf("%w: its file system is no squashfs", ErrUnsupported)

// open reads the headers. It returns what it has even with an error, unless that is nothing.
func open(r io.ReaderAt, size int64) (*opened, error) {
	src, err := openSource(r, size)
	if err != nil {
		return nil, err
	}
	format, base := src.format()
	im := &opened{src: src, info: Info{Format: format}}
	limit := size
	switch format {
	case SIF:
		if im.sif, err = readSIF(src, size); err != nil {
			return im, err
		}
		im.info = im.sif.info()
		p := im.sif.primary()
		switch {
		case p == nil:
			return im, nil
		case im.info.Encrypted:
			im.why = fmt.Errorf("%w: its file system is encrypted", ErrUnsupported)
			return im, nil
		case p.fs() != sifFSSquashfs:
			im.why = errNoSquashfs
			return im, nil
		}
		end, ok := endOf(p.Off, p.Len)
		if !ok || end > size {
			return im, fmt.Errorf("%w: its partition ends at %d, the file at %d", ErrTruncated, end, size)
		}
		base, limit = p.Off, end
	case SIMG, Squashfs:
	case Ext3:
		im.why = errNoSquashfs
		return im, nil
	case Unknown:
		return im, nil
	}
	im.fs, err = openSquashfs(src, base, limit-base)
	if format == SIF && ignoreImage(err) == nil {
		// Its JSON objects may say all there is to say; who needs the file system will see that it is missing.
		im.why = err
		return im, nil
	}
	if err == nil {
		im.info.Created = im.fs.made()
	}
	return im, err
}

func (im *opened) close() {
	if im.fs != nil {
		im.fs.close()
	}
}

// object returns the bytes of a SIF object, nil if there is none.
func (im *opened) object(kind int32, name string) ([]byte, error) {
	if im.sif == nil {
		return nil, nil
	}
	d := im.sif.find(kind, name)
	if d == nil {
		return nil, nil
	}
	end, ok := endOf(d.Off, d.Len)
	switch {
	case !ok || d.Len > maxObject:
		return nil, fmt.Errorf("%w: SIF object %q of %d bytes at %d", ErrCorrupt, d.name(), d.Len, d.Off)
	case end > im.src.size:
		return nil, missing(end, im.src.size)
	}
	data := make([]byte, d.Len)
	return data, readFull(im.src, data, d.Off)
}

// labels looks in the places labels were kept in, newest first.
func (im *opened) labels() (map[string]string, error) {
	meta, err := im.inspectObject()
	if err != nil || meta != nil {
		if meta != nil && meta.Labels != nil {
			return meta.Labels, nil
		}
		return map[string]string{}, err
	}
	text, err := im.object(sifLabels, "")
	if err == nil && text == nil {
		text, err = im.file("labels.json")
	}
	if err != nil {
		return map[string]string{}, err
	}
	return parseLabels(text)
}

// inspectObject is the parsed inspect-metadata.json, nil if there is none or it is none.
func (im *opened) inspectObject() (*Meta, error) {
	text, err := im.object(sifGenericJSON, inspectName)
	if err != nil || text == nil {
		return nil, err
	}
	var doc Document
	if json.Unmarshal(text, &doc) == nil {
		return &doc.Data.Attributes, nil
	}
	// Something in it is not what it should be; the labels may be good.
	var lenient struct {
		Data struct {
			Attributes struct{ Labels json.RawMessage }
		}
	}
	if json.Unmarshal(text, &lenient) == nil && lenient.Data.Attributes.Labels != nil {
		labels, err := parseLabels(lenient.Data.Attributes.Labels)
		return &Meta{Labels: labels}, err
	}
	return nil, nil
}

// file reads a file of /.singularity.d, nil if there is none.
func (im *opened) file(name string) ([]byte, error) {
	if im.fs == nil {
		return nil, nil
	}
	text, err := im.fs.readFile(path.Join(metaDir, name))
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// parseLabels reads a JSON object of labels. Values that are no text are kept as their JSON.
func parseLabels(text []byte) (map[string]string, error) {
	labels := map[string]string{}
	if len(bytes.TrimSpace(text)) == 0 {
		return labels, nil
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(text, &values); err != nil {
		return labels, fmt.Errorf("%w: labels: %w", ErrCorrupt, err)
	}
	for k, v := range values {
		var s string
		switch {
		case json.Unmarshal(v, &s) == nil: // null gives ""
			labels[k] = s
		default:
			labels[k] = string(v)
		}
	}
	return labels, nil
}

// Meta is what `apptainer inspect --all` shows of an image; its JSON form is the "attributes" of that command's output.
type Meta struct {
	Apps        map[string]*App   `json:"apps,omitempty"`
	Environment map[string]string `json:"environment,omitempty"` // by file: "/.singularity.d/env/90-environment.sh"
	Labels      map[string]string `json:"labels,omitempty"`
	Runscript   string            `json:"runscript,omitempty"`
	Test        string            `json:"test,omitempty"`
	Help        string            `json:"helpfile,omitempty"`
	Deffile     string            `json:"deffile,omitempty"`
	Startscript string            `json:"startscript,omitempty"`
}

// App is what Meta says of one SCIF app in an image.
type App struct {
	Environment map[string]string `json:"environment,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Runscript   string            `json:"runscript,omitempty"`
	Test        string            `json:"test,omitempty"`
	Help        string            `json:"helpfile,omitempty"`
}

// Document is the whole output of `apptainer inspect --json`, and the content of a SIF's inspect-metadata.json.
type Document struct {
	Data struct {
		Attributes Meta `json:"attributes"`
	} `json:"data"`
	Type string `json:"type"` // "container"
}

// meta is Metafiles on an opened image.
func (im *opened) meta() (Meta, error) {
	m, err := im.inspectObject()
	if err != nil {
		return Meta{}, err
	}
	var unread error // of the file system, if it is needed
	if m == nil {
		m = &Meta{}
		if unread = im.metaFromFiles(m); !errors.Is(unread, ErrUnsupported) && unread != nil {
			return *m, unread
		}
	}
	if m.Labels == nil {
		if m.Labels, err = im.labels(); err != nil {
			return *m, err
		}
	}
	if m.Deffile == "" {
		text, err := im.object(sifDeffile, "")
		m.Deffile = trimText(text)
		if err != nil {
			return *m, err
		}
	}
	return *m, unread
}

// metaFromFiles fills m from /.singularity.d.
func (im *opened) metaFromFiles(m *Meta) error {
	if im.fs == nil {
		return im.why
	}
	for name, to := range map[string]*string{
		"Singularity": &m.Deffile, "runscript": &m.Runscript, "startscript": &m.Startscript, "runscript.help": &m.Help,
		"test": &m.Test,
	} {
		text, err := im.file(name)
		if ignoreImage(err) != nil {
			return err
		}
		*to = trimText(text)
	}
	names, err := im.fs.list(metaDir + "/env")
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	m.Environment = map[string]string{}
	for _, name := range names {
		// The files whose content is the image's own; the others are the same in every image.
		docker, _ := path.Match("10-docker*.sh", name)
		own, _ := path.Match("9*-environment.sh", name)
		if !docker && !own {
			continue
		}
		text, err := im.file("env/" + name)
		if ignoreImage(err) != nil {
			return err
		}
		m.Environment[metaDir+"/env/"+name] = trimText(text)
	}
	return nil
}

// trimText drops trailing newlines, as apptainer inspect does.
func trimText(b []byte) string { return strings.TrimRight(string(b), "\n") }
