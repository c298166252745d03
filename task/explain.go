package task

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Explanation is a failure in the words of whoever has to mend it: what happened, the one thing to do, and a code that
// stays the same from version to version, so that it can be searched for.
type Explanation struct {
	Code     string
	What     string
	Do       string
	Commands []string // what to type, where that is the thing to do
}

// String is the text of the error as the run's page shows it.
func (e Explanation) String() string {
	return fmt.Sprintf("%s %s (%s)", e.What, e.Do, e.Code)
}

// rule knows one kind of failure.
type rule func(err error) (Explanation, bool)

// on makes a rule for a type of error, wherever it is in the chain.
func on[E error](explain func(E) Explanation) rule {
	return func(err error) (Explanation, bool) {
		e, ok := errors.AsType[E](err)
		if !ok {
			return Explanation{}, false
		}
		return explain(e), true
	}
}

// Explain turns a failed run's error into words, one explanation a finding and never none. This is the only place where
// failures become prose; a test holds it against the error types of all crafts.
func Explain(err error) []Explanation {
	var all []Explanation
	for _, finding := range findings(err) {
		for _, e := range explainFinding(finding) {
			same := func(known Explanation) bool { return known.String() == e.String() }
			if !slices.ContainsFunc(all, same) {
				all = append(all, e)
			}
		}
	}
	return all
}

// explainFinding explains one finding, of which two kinds hold several or another one.
func explainFinding(err error) []Explanation {
	if unsigned, ok := errors.AsType[*UnsignedError](err); ok {
		all := Explain(unsigned.Err)
		all[0].What += " " + unsigned.state()
		return all
	}
	if inputs, ok := errors.AsType[*InputError](err); ok {
		return explainInputs(inputs)
	}
	return []Explanation{explainOne(err)}
}

// findings takes apart what was joined, and leaves everything else whole: an error with several causes of its own type
// is one finding.
func findings(err error) []error {
	if check, ok := err.(*CheckError); ok { //nolint:errorlint // only the outermost layer is taken apart
		return flatten(check.Findings)
	}
	if proof, ok := err.(*ProofError); ok { //nolint:errorlint // likewise
		return []error{proof}
	}
	// errors.Join has no type of its own to ask for.
	if joined, ok := err.(interface{ Unwrap() []error }); ok && strings.HasPrefix(fmt.Sprintf("%T", err), "*errors.") {
		return flatten(joined.Unwrap())
	}
	return []error{err}
}

func flatten(errs []error) []error {
	var all []error
	for _, err := range errs {
		all = append(all, findings(err)...)
	}
	return all
}

func explainOne(err error) Explanation {
	for _, rule := range slices.Concat(taskRules(), pipelineRules(), keyRules(), dockerRules(), trustRules(), registryRules()) {
		if e, ok := rule(err); ok {
			return e
		}
	}
	return Explanation{
		Code: codeUnexpected,
		What: "Something failed that this version does not know: " + err.Error() + ".",
		Do:   "Run the step again with the variable system.debug set to true, and report the log.",
	}
}

func explainInputs(e *InputError) []Explanation {
	all := make([]Explanation, len(e.Faults))
	for i, f := range e.Faults {
		all[i] = Explanation{Code: codeInputs, What: "The input " + f.Input + " " + predicate(f.Problem) + ".", Do: sentence(f.Fix)}
	}
	return all
}

// predicate joins a problem to the input's name: what begins with a verb goes on, anything else stands behind a colon.
func predicate(problem string) string {
	for _, verb := range []string{"is ", "holds ", "does ", "belongs ", "and "} {
		if strings.HasPrefix(problem, verb) {
			return problem
		}
	}
	return "is wrong: " + problem
}

// sentence begins with a capital and ends with a full stop.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	text = strings.ToUpper(text[:1]) + text[1:]
	if strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}

// state says what became of the tag that had been moved when the run failed, and of the signature if nobody knows.
func (e *UnsignedError) state() string {
	if e.Unasked {
		return e.tagState() + " The trust server could not be asked whether it has taken the signature all the same: run the step again, which settles it."
	}
	return e.tagState()
}

func (e *UnsignedError) tagState() string {
	switch e.State {
	case TagAsBefore:
		if e.Late {
			return e.Image + " is as it was; but the push was cut off while it was under way, and a last request of it could still move the tag to the unsigned image. Look at the tag, or run the step again."
		}
		return "Nothing was changed in the registry: " + e.Image + " is as it was."
	case TagRestored:
		return e.Image + " had been pushed and was put back to the image it pointed at before."
	case TagRemoved:
		return e.Image + " had been pushed and was taken away again."
	case TagUnsigned:
		return "ATTENTION: " + e.Image + " now points at an image that is NOT signed, because the tag could not be put back" + because(e.Undo) +
			". Run the step again, or delete the tag; with the role AcrDelete (or the registry's right to delete) the task takes a new tag away itself."
	case TagElsewhere:
		return "Meanwhile somebody else has moved " + e.Image + "; it was left as they put it."
	case TagUnknown:
	}
	return "ATTENTION: " + e.Image + " may point at an image that is not signed; the registry could not be asked" + because(e.Undo) + "."
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return " (" + err.Error() + ")"
}
