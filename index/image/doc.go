// Package image is the vocabulary of the registry: what an image is called, what Drive knows of it, and what its bytes
// say of themselves. It is pure: no network, no disk, no state, no logging; the floors above speak it.
//
// # Names
//
// A Ref is collection/image:tag@version. Parse is strict and makes the names sregfs writes. Identify is generous and
// reads what lies in Drive, of every era of the registry and of every hand: properties before uri before file name. In
// between stands the tree: Ref.Dir, TagDir, TagFile and VersionFile spell any Ref, however hostile, as entries of
// directories, percent-encoded where a directory or a reader could be misled, and ParseEntry reads entries back. It
// also decides what is no image name at all, so that the temporary files of rsync, editors and browsers are never
// published.
//
//	text ──Parse──▶ Ref ──Describe──▶ Drive name, properties, description
//	                 ▲ ▲ ◀─Identify──┘
//	                 │ └─ParseEntry── "image:tag@version.sif" ◀── TagFile, TagDir, VersionFile
//
// A Ref that passes Check is spelled in the tree as it is, parses back from its String, and is identified from what
// Describe wrote of it; the fuzz targets hold on to that.
//
// # Properties
//
// Drive gives a file 30 public properties of 124 bytes. Describe is the one place that fits a name and labels into
// them: the registry's keys or an error with the number of bytes to cut, then labels, shortest first; what is left goes
// whole into the description as JSON. Labels is its inverse; Retag and SetLabel are the changes of it that a PATCH needs.
//
// # Bytes
//
// Inspect, Metafiles, Whole and HeadTail look into SIF files, Singularity 2 images (a launcher line, then a squashfs),
// bare squashfs and ext images, through an io.ReaderAt that may be a file or Drive: few reads, most of them in the first
// 64 KiB. Images are strangers' files: all counts, sizes and offsets are checked, unpacked bytes are limited, links and
// loops end, and an image can at worst be called damaged (ErrCorrupt, ErrTruncated, ErrUnsupported). Errors of the
// reader pass unchanged, so that a network that fails is never taken for a damaged image.
//
// # Start-up profiles
//
// A Profile is what a start of a container reads of its image, in ranges of blocks of 64 KiB, by first need. It comes from
// a Recording of what a start did read; from MergeProfiles of several; or from Startup, which follows a start through an
// image without running anything. SetProfiles and ParseProfiles are how what is known travels with the image, in up to six
// public properties of the Drive file:
//
//	sregfs.profile.0 … sregfs.profile.5     at most 108 characters each: with its key 124 bytes
//
// Their values one after the other, to the first that is shorter than 108 or missing, are base64url without padding
// (RFC 4648 §5) of at most 486 bytes:
//
//	version    1 byte    1; readers leave other versions alone
//	image      uvarint   size of the image in blocks, the last of which may be short
//	recorded   uvarint   how many of the ranges were recorded; those behind them come from Startup alone
//	range …              until the bytes end, in the order in which they are needed:
//	  distance varint    from the end of the range before, 0 for the first, to its first block
//	  more     uvarint   how many blocks it has, less one
//
// uvarint and varint are those of encoding/binary: 7 bits a byte, lowest first, varint zigzag. A range lies within the
// image; blocks named twice count at the first place. 160 ranges fit, and the longest start seen takes 64; of a longer
// profile the writer joins ranges with gaps of up to 2 MiB, then leaves out what is needed last. A profile of another
// number of blocks was made of other content and is not used. Of a profile that is wrong nothing comes but bytes read in
// vain, at most 128 MiB of them.
package image
