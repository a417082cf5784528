// Package image is the vocabulary of the registry: what an image is called, what Drive knows of it, and
// what its bytes say about themselves.
package image
