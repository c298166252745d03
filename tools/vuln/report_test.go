package main

import (
	"bytes"
	"strings"
	"testing"
)

// A scan with one vulnerability called, one linked but not called, and one in
// a module only.
const scan = `
{"config": {"scan_level": "symbol"}}
{"osv": {"id": "GO-1", "summary": "one"}}
{"finding": {"osv": "GO-1", "trace": [{"module": "m", "version": "v1.0.0"}]}}
{"finding": {"osv": "GO-1", "trace": [{"module": "m", "version": "v1.0.0", "package": "m/api"}]}}
{"finding": {"osv": "GO-1", "trace": [
  {"module": "m", "version": "v1.0.0", "package": "m/api", "function": "Do", "receiver": "*Client"},
  {"module": "contenttrust", "package": "contenttrust/task", "function": "Run"}]}}
{"finding": {"osv": "GO-2", "fixed_version": "v1.1.0", "trace": [{"module": "n", "version": "v1.0.0", "package": "n"}]}}
{"finding": {"osv": "GO-3", "trace": [{"module": "o", "version": "v1.0.0"}]}}
`

func TestOnlyWhatIsReachedAndNotExplainedFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		exceptions string
		ok         bool
		says       string
	}{
		"reached": {
			"", false, "reached: contenttrust/task.Run -> m/api.Client.Do",
		},
		"reached and explained": {
			"GO-1 m/daemon in the daemon", true, "GO-1  excepted: one\n  in the daemon",
		},
		"explained by what is no longer true": {
			"GO-1 m/other,m/api in the daemon", false, "the exception has ended, m/api is in the build",
		},
		"a folder of a similar name is another": {
			"GO-1 m/ap in the daemon", true, "1 of them excepted",
		},
		"an exception that nothing needs": {
			"GO-1 m/daemon in the daemon\nGO-2 n/x because", true, "GO-2  is in exceptions.txt and was not met",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			exceptions, err := readExceptions(test.exceptions)
			if err != nil {
				t.Fatal(err)
			}
			r, err := readReport(strings.NewReader(scan))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if ok := r.judge(&out, exceptions); ok != test.ok || !strings.Contains(out.String(), test.says) {
				t.Errorf("passed %v, want %v with %q in:\n%s", ok, test.ok, test.says, &out)
			}
		})
	}
}

func TestExceptionsWithoutAReasonAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"GO-1", "GO-1 m/daemon", "GO-1 m one reason\nGO-1 m another"} {
		if _, err := readExceptions(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	if _, err := readExceptions(exceptionsText); err != nil {
		t.Errorf("our own: %v", err)
	}
}

func TestACutOffReportIsNoCleanOne(t *testing.T) {
	t.Parallel()
	if _, err := readReport(strings.NewReader(scan[:len(scan)/2])); err == nil {
		t.Error("half a report was taken for a whole one")
	}
}
