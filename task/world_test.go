package task

import (
	"contenttrust/internal/pipeline"
	"contenttrust/internal/secret"
)

// environment is an agent's environment of exactly these variables.
func environment(vars map[string]string) pipeline.Environment {
	return func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}
}

func equalSecrets(a, b secret.Value) bool { return a.Equal(b) }
