//go:build !linux

package docker_test

import "testing"

// asNobody: root's own test runs on Linux, where a test can drop its rights.
func asNobody(t *testing.T) { t.Log("running as root: the other branch of this test covers it") }
