// Command inside prints what a container sees, for the test of package container.
package main

import (
	"fmt"
	"os"
)

func main() {
	given, err := os.ReadFile("/given")
	fmt.Println("given:", string(given), err)
	fmt.Println("write read-only mount:", os.WriteFile("/fixed/new", nil, 0o600) != nil)
	fmt.Println("write root:", os.WriteFile("/new", nil, 0o600) != nil)
	fmt.Println("write volume:", os.WriteFile("/volume/new", []byte("written inside"), 0o400))
	entries, err := os.ReadDir("/")
	fmt.Println("root:", entries, err)
	fmt.Println("user:", os.Getuid(), os.Getgid())
	fmt.Println("environment:", os.Environ())
}
