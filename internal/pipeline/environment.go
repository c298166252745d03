package pipeline

import (
	"context"
	"runtime"
	"strings"

	"github.com/sethvargo/go-envconfig"
)

// Environment looks environment variables up by their exact name (on Windows in
// any case). A nil Environment is empty. It fits wherever go-envconfig takes a
// Lookuper.
type Environment func(key string) (value string, ok bool)

var _ envconfig.Lookuper = Environment(nil)

// NewEnvironment reads variables in the form of os.Environ, NAME=value. Of
// several with one name the first counts, as in os.Getenv. The list is copied,
// so the process may forget its secrets afterwards (see [Sensitive]).
func NewEnvironment(environ []string) Environment {
	variables := make(map[string]string, len(environ))
	for _, entry := range environ {
		// Windows has entries like "=C:=C:\dir", whose name begins with '='.
		if entry == "" {
			continue
		}
		at := strings.IndexByte(entry[1:], '=')
		if at < 0 {
			continue
		}
		name := platformName(entry[:at+1])
		if _, ok := variables[name]; !ok {
			variables[name] = entry[at+2:]
		}
	}
	return func(key string) (string, bool) {
		value, ok := variables[platformName(key)]
		return value, ok
	}
}

// platformName is the name as the operating system compares it.
func platformName(name string) string {
	if runtime.GOOS == "windows" {
		return strings.ToUpper(name)
	}
	return name
}

// Lookup gives the variable's value and whether it is set at all.
func (e Environment) Lookup(key string) (string, bool) {
	if e == nil {
		return "", false
	}
	return e(key)
}

// Get gives the variable's value, "" when it is not set.
func (e Environment) Get(key string) string {
	value, _ := e.Lookup(key)
	return value
}

// Decode fills the struct that target points to by its `env:"NAME"` tags, in
// the syntax of go-envconfig; fields of type secret.Value are filled as well.
// Its errors name the field and may quote the value, so do not decode a secret
// into anything but secret.Value or string.
func (e Environment) Decode(ctx context.Context, target any) error {
	return envconfig.ProcessWith(ctx, &envconfig.Config{Target: target, Lookuper: e})
}

// VariableName gives the environment variable that the agent makes of a pipeline
// variable: Build.BuildId becomes BUILD_BUILDID (VarUtil.ConvertToEnvVariableFormat).
func VariableName(name string) string {
	return strings.ToUpper(strings.NewReplacer(".", "_", " ", "_").Replace(name))
}

// TaskVariable gives a variable that an earlier phase of the same step has set
// with [Log.SetTaskVariable].
func TaskVariable(env Environment, name string) (string, bool) {
	return env.Lookup("VSTS_TASKVARIABLE_" + VariableName(name))
}

// Sensitive says whether a variable of this name holds, or may hold, a secret
// that the agent has handed to the task: no child process may inherit it. The
// prefixes are those which task-lib removes from the environment of a Node task
// (internal.ts, _loadData), and the job's access token.
func Sensitive(name string) bool {
	name = strings.ToUpper(name)
	for _, prefix := range []string{"INPUT_", "ENDPOINT_AUTH_", "SECUREFILE_TICKET_", "SECRET_", "VSTS_TASKVARIABLE_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "VSTS_PUBLIC_VARIABLES", "VSTS_SECRET_VARIABLES", "SYSTEM_ACCESSTOKEN":
		return true
	}
	return false
}
