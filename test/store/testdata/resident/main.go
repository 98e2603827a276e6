// Command resident opens a database and prints, as JSON, the memory that this
// process has in bytes: after opening it, after reading all of it, and with all
// of it in a map. Memory of the file is the system's cache, which it takes back
// when it needs it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/bolt"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	s, err := bolt.Open(bolt.Options{Dir: dir})
	if err != nil {
		return err
	}
	found := map[string]int64{}
	measure("open", found)
	if _, err := s.Snapshot(context.Background(), "", func(store.Item) error { return nil }); err != nil {
		return err
	}
	measure("read", found)
	all := map[string][]byte{}
	_, err = s.Snapshot(context.Background(), "", func(item store.Item) error {
		all[item.Key] = item.Value
		return nil
	})
	if err != nil {
		return err
	}
	measure("map", found)
	found["items"] = int64(len(all))
	if err := s.Close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// measure notes anonymous memory and that of files (proc_pid_status(5)).
func measure(name string, found map[string]int64) {
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "RssAnon: %d", &kib); err == nil {
			found[name+"_anon"] = kib << 10
		}
		if _, err := fmt.Sscanf(line, "RssFile: %d", &kib); err == nil {
			found[name+"_file"] = kib << 10
		}
	}
}
