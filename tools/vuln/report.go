package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// exception is a line of exceptions.txt.
type exception struct {
	packages []string // that hold the vulnerable code
	reason   string
}

// readExceptions reads ID, packages and reason from each line.
func readExceptions(text string) (map[string]exception, error) {
	all := map[string]exception{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, rest, _ := strings.Cut(line, " ")
		packages, reason, _ := strings.Cut(strings.TrimSpace(rest), " ")
		reason = strings.TrimSpace(reason)
		if _, twice := all[id]; twice || packages == "" || reason == "" {
			return nil, fmt.Errorf("exceptions: %q: want an ID that is not there yet, packages and a reason", line)
		}
		all[id] = exception{packages: strings.Split(packages, ","), reason: reason}
	}
	return all, nil
}

// vulnerability is one entry of the database that the scan has met.
type vulnerability struct {
	id, summary string
	found       string // module@version
	fixed       string // "" when there is no fixed version
	called      bool   // our code reaches it
	trace       string // one way there
	packages    map[string]bool
}

// report is what a scan has met, by ID.
type report map[string]*vulnerability

// message is one value of govulncheck's JSON stream
// (golang.org/x/vuln, internal/govulncheck/govulncheck.go).
type message struct {
	OSV *struct {
		ID, Summary string
	}
	Finding *struct {
		OSV   string
		Fixed string `json:"fixed_version"`
		Trace []frame
	}
}

// frame is a step of the way to a vulnerability, the vulnerable one first.
type frame struct {
	Module, Version, Package, Function, Receiver string
}

func (f frame) String() string {
	if f.Receiver != "" {
		return f.Package + "." + strings.TrimPrefix(f.Receiver, "*") + "." + f.Function
	}
	return f.Package + "." + f.Function
}

func readReport(from io.Reader) (report, error) {
	summaries, all := map[string]string{}, report{}
	for decoder := json.NewDecoder(from); ; {
		var m message
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("govulncheck's report: %w", err)
		}
		if m.OSV != nil {
			summaries[m.OSV.ID] = m.OSV.Summary
		}
		if m.Finding != nil && len(m.Finding.Trace) > 0 {
			all.add(m.Finding.OSV, m.Finding.Fixed, m.Finding.Trace)
		}
	}
	for id, v := range all {
		v.summary = summaries[id]
	}
	return all, nil
}

func (r report) add(id, fixed string, trace []frame) {
	v := r[id]
	if v == nil {
		v = &vulnerability{id: id, packages: map[string]bool{}}
		r[id] = v
	}
	v.found, v.fixed = trace[0].Module+"@"+trace[0].Version, fixed
	if trace[0].Package != "" {
		v.packages[trace[0].Package] = true
	}
	if trace[0].Function == "" {
		return
	}
	// The shortest way is the one to look at first.
	way := make([]string, 0, len(trace))
	for _, f := range slices.Backward(trace) {
		way = append(way, f.String())
	}
	text := strings.Join(way, " -> ")
	if !v.called || len(text) < len(v.trace) {
		v.called, v.trace = true, text
	}
}

// judge writes what was met and says whether all of it is in order.
func (r report) judge(out io.Writer, exceptions map[string]exception) bool {
	ok, called, excepted := true, 0, 0
	for _, id := range slices.Sorted(maps.Keys(r)) {
		v := r[id]
		if !v.called {
			continue
		}
		called++
		e, known := exceptions[id]
		linked := e.linked(v)
		switch {
		case known && linked == "":
			excepted++
			fmt.Fprintf(out, "%s  excepted: %s\n  %s\n", id, v.summary, e.reason)
			continue
		case known:
			fmt.Fprintf(out, "%s  the exception has ended, %s is in the build now\n", id, linked)
		}
		ok = false
		fixed := "there is no fixed version"
		if v.fixed != "" {
			fixed = "fixed in " + v.fixed
		}
		fmt.Fprintf(out, "%s  %s\n  %s, %s\n  reached: %s\n", id, v.summary, v.found, fixed, v.trace)
	}
	for _, id := range slices.Sorted(maps.Keys(exceptions)) {
		if v := r[id]; v == nil || !v.called {
			fmt.Fprintf(out, "%s  is in exceptions.txt and was not met; its line can go\n", id)
		}
	}
	fmt.Fprintf(out, "%d vulnerabilities in reach, %d of them excepted; %d more in modules, not reached\n", called, excepted, len(r)-called)
	return ok
}

// linked is the first package of the exception that is in the build, "" when
// none is.
func (e exception) linked(v *vulnerability) string {
	for _, p := range slices.Sorted(maps.Keys(v.packages)) {
		for _, vulnerable := range e.packages {
			if p == vulnerable || strings.HasPrefix(p, vulnerable+"/") {
				return p
			}
		}
	}
	return ""
}
