package secret

import (
	"fmt"
	"io"
	"log/slog"
	"unique"
)

// Redacted is what is printed in a secret's place.
const Redacted = "***"

// Value is a secret. The zero Value is the empty secret. Two Values made of the
// same text are equal under ==, so a Value works as a map key and in tests.
//
// The text sits behind an interned pointer, not in the struct: fmt cannot call
// methods on unexported fields and would otherwise print the text of a Value
// inside somebody's struct. Only a tool that follows pointers by reflection
// (a debugger, a test's diff) sees it.
type Value struct {
	// The zero handle stands for "", because unique.Make("") is not the zero one.
	handle unique.Handle[string]
}

var (
	_ fmt.Formatter  = Value{}
	_ fmt.GoStringer = Value{}
	_ slog.LogValuer = Value{}
)

// New makes a Value of s, exactly as given: nothing is trimmed.
func New(s string) Value {
	if s == "" {
		return Value{}
	}
	return Value{handle: unique.Make(s)}
}

// Reveal gives the text. It is the only way to it.
func (v Value) Reveal() string {
	if v.Empty() {
		return ""
	}
	return v.handle.Value()
}

// Empty says whether there is no text at all.
func (v Value) Empty() bool { return v == Value{} }

// Equal is ==, for go-cmp, which refuses to look into unexported fields.
func (v Value) Equal(other Value) bool { return v == other }

// String gives [Redacted], also for the empty value: whether a secret is set is
// nobody's business either.
func (Value) String() string { return Redacted }

// GoString gives [Redacted], for %#v.
func (Value) GoString() string { return Redacted }

// Format writes [Redacted] whatever the verb, the flags and the width are.
func (Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// MarshalJSON gives "***". A Value does not survive a round trip, on purpose.
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalText gives ***, for XML, map keys and flag packages.
func (Value) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// LogValue gives [Redacted] to slog.
func (Value) LogValue() slog.Value { return slog.StringValue(Redacted) }

// UnmarshalText sets the value to text: the way in for decoders of JSON and of
// the environment. It never fails.
func (v *Value) UnmarshalText(text []byte) error {
	*v = New(string(text))
	return nil
}
