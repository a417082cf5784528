// Package imagetest makes images for tests, in pure Go and without privileges: SIFs and Singularity 2 images of any
// size that siftool, unsquashfs and the kernel read. They hold a small /.singularity.d, the files a test asks for and
// one large file of noise, so they have the structure of an image and do not compress. The same size and options make
// the same bytes, always.
package imagetest
