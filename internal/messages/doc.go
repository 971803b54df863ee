// Package messages is the hub: the Anthropic Messages API as Go types, with the bytes they came from kept.
//
// A request is read in two steps. ParseRequest walks the body once: it proves the grammar, the depth and the UTF-8, refuses
// names that two JSON readers could understand differently, and remembers where each top-level value lies. That is all
// the verbatim lane needs; Splice edits single members there. Conversation decodes the rest, once, for translators, in one
// forward pass over the proven bytes (walk.go).
//
// An answer is made of Events; Event.AppendJSON is the only place that writes one. Read request.go first, then block.go
// and event.go. The package knows no HTTP, no provider and no clock.
//
// Source of the shapes: the Messages API as clients speak it, both 2023-06-01 and 2026-10-21.
package messages
