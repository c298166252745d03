package rig

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A machine with nothing on its PATH but, perhaps, an apt-get of ours: a shell
// script, which needs no PATH to find its shell.
func TestWhatIsMissingIsInstalledOrNamed(t *testing.T) {
	const installs = `#!/bin/sh
echo "$*" >>"$0.log"
[ "$1" = install ] || exit 0
for p in dockerd containerd runc docker-registry notary notary-server iptables ip busybox openssl gcc pkg-config; do
	echo '#!/bin/sh' >"${0%/*}/$p"
	/bin/chmod +x "${0%/*}/$p"
done
`
	// Files are where they are, whatever the PATH.
	programs := slices.DeleteFunc(needs(), func(n need) bool { return n.program == "" })
	for name, test := range map[string]struct {
		root   bool
		aptGet string // the script; "" for none
		says   string // in the error; "" for none
	}{
		"not root":             {false, installs, "only root may install them"},
		"not Debian":           {true, "", `"apt-get": executable file not found`},
		"no way to the mirror": {true, "#!/bin/sh\necho 'E: Unable to fetch' >&2\nexit 100\n", "apt-get update: exit status 100: E: Unable to fetch"},
		"a mirror without them": {
			true, "#!/bin/sh\nexit 0\n", "still they cannot be found",
		},
		"all well": {true, installs, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("PATH", dir)
			if test.aptGet != "" {
				if err := os.WriteFile(filepath.Join(dir, "apt-get"), []byte(test.aptGet), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			err := install(t.Context(), programs, test.root)
			var missing *MissingError
			switch {
			case test.says == "" && err != nil:
				t.Fatal(err)
			case test.says != "" && (!errors.As(err, &missing) || !strings.Contains(err.Error(), test.says)):
				t.Fatalf("got %v, want a MissingError with %q", err, test.says)
			case test.says != "" && !slices.Contains(missing.Packages, "docker.io"):
				t.Errorf("docker.io is not named among %v", missing.Packages)
			case test.says == "":
				log, _ := os.ReadFile(filepath.Join(dir, "apt-get.log"))
				if !strings.HasPrefix(string(log), "update\ninstall --yes --no-install-recommends docker.io ") {
					t.Errorf("apt-get was told %q", log)
				}
			}
		})
	}
}
