package image

import (
	"errors"
	"fmt"
)

// Sentinels of this package; match them with errors.Is.
var (
	// ErrName is a text that is no image name. The error's text says what is wrong with it.
	ErrName = errors.New("not an image name")
	// ErrTooLong is a name that does not fit a file system or Drive's properties. It is an ErrName too.
	ErrTooLong = fmt.Errorf("%w: too long", ErrName)
	// ErrTruncated is an image whose own header promises more bytes than there are.
	ErrTruncated = errors.New("image is cut short")
	// ErrEmpty is an image of no bytes at all.
	ErrEmpty = errors.New("image is empty")
	// ErrCorrupt is an image whose structures contradict themselves or exceed every sane bound.
	ErrCorrupt = errors.New("image is damaged")
	// ErrUnsupported is a part of an image this package does not read: a compressor, an old format, an encrypted partition.
	ErrUnsupported = errors.New("not supported")
)

// ignoreImage drops errors that are the image's own, and keeps those of reading it.
func ignoreImage(err error) error {
	for _, own := range []error{ErrTruncated, ErrCorrupt, ErrUnsupported} {
		if errors.Is(err, own) {
			return nil
		}
	}
	return err
}
