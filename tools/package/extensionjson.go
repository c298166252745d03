package main

import (
	"fmt"
	"os"
)

// extensionShape is what a vss-extension.json of ours may hold.
func extensionShape() rule {
	folder := object(fields{"path*": text("")})
	page := object(fields{"path*": text(""), "contentType*": text(`^text/[a-z]+$`)})
	return object(fields{
		"manifestVersion*": whole,
		"id*":              text(`^[a-z0-9-]+$`), "publisher*": text(`^[A-Za-z0-9-]+$`), "name*": text(""), "version*": text(`^\d+\.\d+\.\d+$`),
		"description*": text(`^.{1,200}$`), "public*": boolean, "author": text(""),
		"targets*": list(object(fields{"id*": oneOf("Microsoft.VisualStudio.Services")})),
		// A task needs no permission in the organization, and administrators read the list when they install.
		"scopes*":     list(func(path string, _ any, add func(path, problem string)) { add(path, "a task needs no scope") }),
		"categories*": list(oneOf("Azure Pipelines")), "tags*": list(text("")),
		"galleryFlags": list(oneOf("Public", "Preview")),
		"icons*":       object(fields{"default*": text(`\.png$`)}),
		"branding":     object(fields{"color*": text(`^#[0-9a-f]{6}$`), "theme*": oneOf("dark", "light")}),
		"content*":     object(fields{"details*": page, "license*": page}),
		"links":        dictionary(object(fields{"uri*": text(`^https://`)})),
		"repository":   object(fields{"type*": oneOf("git"), "uri*": text(`^https://`)}),
		"files*":       list(folder),
		"contributions*": list(object(fields{
			"id*": text(`^[a-z0-9-]+$`), "type*": oneOf("ms.vss-distributed-task.task"),
			"targets*":    list(oneOf("ms.vss-distributed-task.tasks")),
			"properties*": object(fields{"name*": text(`^[A-Za-z0-9]+$`)}),
		})),
	})
}

// extensionFile is what this program uses of vss-extension.json.
type extensionFile struct {
	raw                    []byte
	ID, Publisher, Version string
	Icons                  struct{ Default string }
	Content                struct{ Details, License struct{ Path string } }
	Files                  []struct{ Path string }
	Contributions          []struct{ Properties struct{ Name string } }
}

// folder is the task's folder inside the extension.
func (e *extensionFile) folder() string { return e.Contributions[0].Properties.Name }

func readExtension(path string, task *taskFile) (*extensionFile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	e := &extensionFile{raw: data}
	if err := parse(path, data, extensionShape(), e); err != nil {
		return nil, err
	}
	switch {
	case e.Version != task.version():
		return nil, fmt.Errorf("%s: its version is %s, the version of task.json is %s; raise both together", path, e.Version, task.version())
	case len(e.Contributions) != 1 || len(e.Files) != 1 || e.Files[0].Path != e.folder():
		return nil, fmt.Errorf("%s: it must contribute one task, and list that task's folder and no other", path)
	}
	return e, nil
}
