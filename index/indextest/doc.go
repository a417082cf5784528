// Package indextest opens an index over an emulated Drive for the tests of every floor above drive: real HTTP, real
// Badger on disk, short intervals. It also puts images on the emulated Drive the way other clients of the registry do,
// behind the back of the index under test.
package indextest
