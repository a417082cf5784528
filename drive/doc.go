// Package drive is the client of the Google Drive v3 API: the only floor that knows HTTP and OAuth.
package drive
