package agents

import (
	"net/http"
	"strings"

	"signalbox/config"
	"signalbox/internal/messages"
)

// By is the sign by which an agent was recognised.
type By string

// The signs, the surest first. A virtual key's agent will stand behind the header.
const (
	ByHeader      By = "header"
	ByMarker      By = "marker"
	ByFingerprint By = "fingerprint"
	ByHint        By = "hint"
)

// Identity is who asks. An empty Name is nobody in particular.
type Identity struct {
	Name     string `json:"name"` // with command:, skill: or hook: in front unless it is an agent
	By       By     `json:"by"`
	Subagent bool   `json:"subagent"` // Claude Code says that a subagent asks, not its main agent
}

// Identify reads the signs in the order of the contract: header, marker, fingerprint, hint. known are fingerprints that came with
// the request. Nothing in a message, a tool result or an answer is looked at.
func (d *Directory) Identify(h http.Header, r *messages.Request, known []config.Fingerprint) Identity {
	id := Identity{Subagent: h.Get("X-Claude-Code-Agent-Id") != ""}
	if name := Named(h); name != "" {
		id.Name, id.By = name, ByHeader
		return id
	}
	if name := r.Marker(); name != "" {
		id.Name, id.By = name, ByMarker
		return id
	}
	if name := d.byText(r, known); name != "" {
		id.Name, id.By = name, ByFingerprint
		return id
	}
	if name := h.Get("X-Claude-Code-Agent-Type"); name != "custom" && messages.Identity(name) {
		id.Name, id.By = name, ByHint
	}
	return id
}

// Named is the name that a caller gives itself in the header x-signalbox-agent; empty when it gives none, or what is no name.
func Named(h http.Header) string {
	if name := h.Get("X-Signalbox-Agent"); messages.Identity(name) {
		return name
	}
	return ""
}

// byText looks for an agent's own text where its requests begin with it: the second system block, counted without the attribution
// line, or the first where a client sends no identity sentence. Behind an agent's own prompt a block is anybody's text.
func (d *Directory) byText(r *messages.Request, known []config.Fingerprint) string {
	x := d.look()
	if len(x.lens) == 0 && len(known) == 0 {
		return ""
	}
	texts := r.SystemTexts()
	if len(texts) > 2 {
		texts = texts[:2]
	}
	if len(texts) == 2 && introduces(texts[0]) {
		texts[0], texts[1] = texts[1], texts[0] // an agent's file that begins like the sentence takes nobody else's requests
	}
	theirs := newIndex(known)
	for _, text := range texts {
		if name := theirs.find(text); name != "" {
			return name // the project that the agent runs in knows best
		}
		if name := x.find(text); name != "" {
			return name
		}
	}
	return ""
}

// introduces reports whether a block is the identity sentence that Claude Code and its SDK put before an agent's prompt.
func introduces(text string) bool {
	return strings.HasPrefix(text, "You are Claude Code") || strings.HasPrefix(text, "You are a Claude agent")
}
