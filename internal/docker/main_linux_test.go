//go:build !e2e

package docker_test

import "testing"

// runTests runs the tests that need no Engine.
func runTests(m *testing.M) int { return m.Run() }
