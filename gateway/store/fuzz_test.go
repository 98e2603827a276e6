package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

const aHeader = `{"format":"gatepass-backup","version":1,"created":"2026-06-01T12:00:00Z"}` + "\n"

// read returns the items of a backup.
func read(data []byte) ([]Item, error) {
	b, err := newBackupReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var items []Item
	for {
		line, ok, err := b.next()
		if err != nil || !ok {
			return items, err
		}
		items = append(items, Item{Key: line.Key, Value: line.Value})
	}
}

// FuzzBackup reads any lines, once as they are and once with the checksum that they
// need to be a backup. What is read then is what is read of it when it is written
// again, in order, and no error quotes a value.
func FuzzBackup(f *testing.F) {
	const value = "c2VjcmV0LXZhbHVl" // what no error may hold
	f.Add([]byte(aHeader))
	f.Add([]byte(aHeader + `{"key":"a","value":"` + value + `"}` + "\n" + `{"key":"b"}` + "\n"))
	f.Add([]byte(aHeader + `{"key":"b","value":"` + value + `"}` + "\n" + `{"key":"a"}` + "\n"))
	f.Add([]byte(aHeader + `{"key":"a","value":["` + value + `"]}` + "\n"))
	f.Add([]byte(aHeader + `{"key":"\ud800","value":null,"items":null}` + "\r\n"))
	f.Add([]byte(aHeader + `{"items":0,"sha256":""}` + "\n"))
	f.Add([]byte(strings.Replace(aHeader, ":1,", ":2,", 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if items, err := read(data); err == nil {
			t.Errorf("%d items of a backup without a checksum", len(items)) // the fuzzer finds no SHA-256
		} else if strings.Contains(err.Error(), value) || strings.Contains(err.Error(), "\x00") {
			t.Errorf("the error is %q", err)
		}
		items, err := read(ended(data, bytes.Count(data, []byte("\n"))-1))
		if err != nil {
			return
		}
		again := []byte(aHeader)
		for i, item := range items {
			if i > 0 && item.Key <= items[i-1].Key {
				t.Fatalf("%q after %q", item.Key, items[i-1].Key)
			}
			line, err := json.Marshal(backupLine{Key: item.Key, Value: item.Value})
			if err != nil {
				t.Fatal(err)
			}
			again = append(append(again, line...), '\n')
		}
		same, err := read(ended(again, len(items)))
		if err != nil || len(same) != len(items) {
			t.Fatalf("%d items, and %d when they are written again: %v", len(items), len(same), err)
		}
		for i := range items {
			if same[i].Key != items[i].Key || !bytes.Equal(same[i].Value, items[i].Value) {
				t.Errorf("%+v became %+v", items[i], same[i])
			}
		}
	})
}

// ended gives a backup its last line.
func ended(data []byte, items int) []byte {
	sum := sha256.Sum256(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")))
	return []byte(string(data) + `{"items":` + strconv.Itoa(items) + `,"sha256":"` + hex.EncodeToString(sum[:]) + `"}` + "\n")
}
