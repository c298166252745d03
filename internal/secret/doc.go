// Package secret holds values that cannot be printed by accident, and the mask
// that removes them from text on its way out.
//
// A [Value] has one exit, [Value.Reveal]. Everything else that could turn it
// into text (every fmt verb, JSON, text encoding, slog, printing a struct that
// has it in an unexported field) gives "***", or an address. So a leak is
// always a line that says Reveal, which can be searched for.
//
// A [Mask] is the second line of defence: text that comes from elsewhere (the
// output of a build, the words of a server) may contain a secret that we never
// printed. The mask knows the [Forms] a secret takes on its way through other
// people's programs and replaces each by "***", in a string ([Mask.Hide]) or in
// a stream whose writes may cut a secret anywhere ([Mask.Writer]).
//
// The package is a leaf: it imports nothing of this module.
package secret
