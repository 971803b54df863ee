// Package agents tells who asks: it knows the agent definition files of Claude Code, and recognises an agent by what its requests
// carry. It chooses no target; that is package routing's.
//
// Read identify.go for the order of the signs, directory.go for where definition files are found.
package agents

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"slices"
	"strconv"
	"strings"

	"signalbox/config"
)

// Definition is one agent definition file.
type Definition struct {
	Name        string `json:"name"` // as rules name it; a plugin's agents have the plugin's name and a colon in front
	File        string `json:"file"`
	Source      string `json:"source"`          // user, project or plugin
	Model       string `json:"model,omitempty"` // what the file itself asks for; it arrives as the body's model
	Description string `json:"description,omitempty"`

	len  int
	sum  string
	head string // the first bytes of the normalised text
}

// Fingerprint is how a gateway elsewhere recognises the agent.
func (d *Definition) Fingerprint() config.Fingerprint {
	return config.Fingerprint{Name: d.Name, Len: d.len, Sum: d.sum}
}

// shortest is the least length of a normalised text that tells an agent: below it, other prompts begin alike.
const shortest = 8

// normal is a text with every run of white space as one space, and none around it: clients trim and re-wrap. It stops after most
// bytes.
func normal(text string, most int) string {
	var b strings.Builder
	b.Grow(min(len(text), most+1))
	for word := range strings.FieldsSeq(text) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(word)
		if b.Len() > most {
			break
		}
	}
	return b.String()
}

const sumDigits = 16

func sumOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil))[:sumDigits] }

func fingerprint(text string) (n int, sum string) {
	h := sha256.New()
	h.Write([]byte(text))
	return len(text), sumOf(h)
}

// headLen is how many bytes of a text are looked at before all of it: most prompts are nobody's whom we know.
const headLen = 32

// index finds agents by the beginning of a text.
type index struct {
	lens  []int             // distinct lengths, ascending
	names map[string]string // by length and sum
	heads map[string]bool   // of all texts; nil where they are not known, or one is too short to have one
}

func newIndex(prints []config.Fingerprint) *index {
	x := &index{names: map[string]string{}}
	for _, p := range prints {
		key := mark(p.Len, p.Sum)
		if _, taken := x.names[key]; taken || p.Len < shortest || len(p.Sum) != sumDigits || p.Name == "" {
			continue // the first of two alike wins: they come in the order in which the client prefers them
		}
		x.names[key] = p.Name
		if !slices.Contains(x.lens, p.Len) {
			x.lens = append(x.lens, p.Len)
		}
	}
	slices.Sort(x.lens)
	return x
}

// withHeads lets the index pass over prompts that begin like nobody's.
func (x *index) withHeads(defs []Definition) *index {
	heads := map[string]bool{}
	for i := range defs {
		switch {
		case defs[i].len < shortest:
		case len(defs[i].head) < headLen:
			return x
		default:
			heads[defs[i].head] = true
		}
	}
	x.heads = heads
	return x
}

func mark(n int, sum string) string { return strconv.Itoa(n) + " " + sum }

// find is the agent whose whole text a prompt begins with; the longest one where several fit, since a prompt that goes on like
// another agent's is that agent's.
func (x *index) find(prompt string) string {
	if x == nil || len(x.lens) == 0 {
		return ""
	}
	if x.heads != nil {
		if head := normal(prompt, headLen); len(head) < headLen || !x.heads[head[:headLen]] {
			return ""
		}
	}
	text := normal(prompt, x.lens[len(x.lens)-1])
	h, at, best := sha256.New(), 0, ""
	for _, n := range x.lens {
		if n > len(text) {
			break
		}
		h.Write([]byte(text[at:n]))
		at = n
		if n < len(text) && text[n] != ' ' {
			continue // in the middle of a word
		}
		if name, ok := x.names[mark(n, sumOf(h))]; ok {
			best = name
		}
	}
	return best
}
