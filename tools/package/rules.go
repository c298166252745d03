package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// A rule judges one value of a JSON document. path says where it stands, add takes what is wrong with it.
//
// The rules are those of the published task schema (tasks.schema.json of microsoft/azure-pipelines-task-lib) and no
// looser. The schema itself is in no npm package, and a build must not fetch it.
type rule func(path string, value any, add func(path, problem string))

// text takes a string that the pattern matches; "" takes every string but the empty one.
func text(pattern string) rule {
	if pattern == "" {
		pattern = `\S`
	}
	re := regexp.MustCompile(pattern)
	return func(path string, value any, add func(path, problem string)) {
		if s, ok := value.(string); !ok || !re.MatchString(s) {
			add(path, fmt.Sprintf("%v is not a string that matches %s", value, pattern))
		}
	}
}

// oneOf takes one of the strings.
func oneOf(choices ...string) rule {
	return func(path string, value any, add func(path, problem string)) {
		if s, ok := value.(string); !ok || !slices.Contains(choices, s) {
			add(path, fmt.Sprintf("%v is none of %q", value, choices))
		}
	}
}

// either takes what one of the rules takes.
func either(rules ...rule) rule {
	return func(path string, value any, add func(path, problem string)) {
		var problems []string
		for _, r := range rules {
			before := len(problems)
			r(path, value, func(_, problem string) { problems = append(problems, problem) })
			if len(problems) == before {
				return
			}
		}
		for _, problem := range problems {
			add(path, problem)
		}
	}
}

func boolean(path string, value any, add func(path, problem string)) {
	if _, ok := value.(bool); !ok {
		add(path, fmt.Sprintf("%v is neither true nor false", value))
	}
}

// whole takes a whole number from 0 on, as versions have them.
func whole(path string, value any, add func(path, problem string)) {
	if n, ok := value.(json.Number); !ok || !regexp.MustCompile(`^\d+$`).MatchString(n.String()) {
		add(path, fmt.Sprintf("%v is not a whole number", value))
	}
}

// list takes an array whose every element the rule takes.
func list(element rule) rule {
	return func(path string, value any, add func(path, problem string)) {
		elements, ok := value.([]any)
		if !ok {
			add(path, "is not a list")
			return
		}
		for i, e := range elements {
			element(fmt.Sprintf("%s[%d]", path, i), e, add)
		}
	}
}

// dictionary takes an object with any keys, whose every value the rule takes.
func dictionary(element rule) rule {
	return func(path string, value any, add func(path, problem string)) {
		object, ok := value.(map[string]any)
		if !ok {
			add(path, "is not an object")
			return
		}
		for _, key := range slices.Sorted(maps.Keys(object)) {
			element(path+"."+key, object[key], add)
		}
	}
}

// fields are the keys of an object, spelled as here and not otherwise. A key that ends in * must be there.
type fields map[string]rule

func object(known fields) rule {
	return func(path string, value any, add func(path, problem string)) {
		object, ok := value.(map[string]any)
		if !ok {
			add(path, "is not an object")
			return
		}
		for _, key := range slices.Sorted(maps.Keys(object)) {
			check := known[key]
			if check == nil {
				check = known[key+"*"]
			}
			if check == nil {
				add(path+"."+key, "is not known")
				continue
			}
			check(path+"."+key, object[key], add)
		}
		for _, key := range slices.Sorted(maps.Keys(known)) {
			if name, required := trimStar(key); required {
				if _, there := object[name]; !there {
					add(path+"."+name, "is missing")
				}
			}
		}
	}
}

func trimStar(key string) (name string, required bool) {
	if key[len(key)-1] == '*' {
		return key[:len(key)-1], true
	}
	return key, false
}
