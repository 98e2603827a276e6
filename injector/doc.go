// Package injector decides what happens to a pod on admission: it is a pure
// function from a pod and the administrator's profiles to a decision and a
// patch. It has no network, no clock and no files.
//
// The patch is a list of JSON Patch "add" operations computed against the raw
// object that the API server sent. The pod is never decoded into typed
// structs and written back, because that would delete every field that is
// newer than the structs.
package injector
