//go:build e2e

package docker_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"contenttrust/internal/testkit/rig"
)

// runTests runs all tests once on each kind of Engine: the one at DOCKER_HOST, or private ones of both image stores.
func runTests(m *testing.M) int {
	code := 0
	for _, kind := range rig.Kinds(os.Getenv) {
		code = max(code, onEngine(kind, m))
	}
	return code
}

func onEngine(kind rig.Kind, m *testing.M) int {
	ctx := context.Background()
	given := os.Getenv("DOCKER_HOST")
	if kind != rig.Existing {
		if err := rig.Packages(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	engine, err := rig.StartEngine(ctx, kind, given)
	if err != nil {
		fmt.Fprintf(os.Stderr, "start the Engine %s: %v\n", kind, err)
		return 1
	}
	defer engine.Close()
	os.Setenv("DOCKER_HOST", engine.Host)
	defer os.Setenv("DOCKER_HOST", given)
	fmt.Printf("Engine %s %s, %s store\n", kind, engine.Version, engine.Store)
	return m.Run()
}
