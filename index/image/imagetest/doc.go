// Package imagetest makes images for tests, in pure Go and without privileges.
package imagetest
