package wire

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"strings"

	"signalbox/internal/messages"
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func random62(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = base62[rand.IntN(62)]
	}
	return string(b)
}

// NewMessageID makes an id for a message of ours: msg_ and 22 base62 characters (131 bits).
func NewMessageID() string { return "msg_" + random62(22) }

// minted begins the ids that we make. Behind it come 16 random characters and, if the upstream had an id of its own, an
// underscore and that id in base64url, so that the way back needs no memory.
const minted = "toolu_sb1"

// IDs chooses the tool-use ids that the caller sees, unique in one conversation: a repeated id makes agents loop.
type IDs struct{ used map[string]bool }

// NewIDs knows the ids that the conversation has used already.
func NewIDs(c *messages.Conversation) *IDs {
	x := &IDs{used: map[string]bool{}}
	if c == nil {
		return x
	}
	for i := range c.Messages {
		for k := range c.Messages[i].Content {
			b := &c.Messages[i].Content[k]
			if b.Type == "tool_use" || b.Type == "server_tool_use" {
				x.used[b.ID] = true
				x.used[OriginalID(b.ID)] = true
			}
		}
	}
	return x
}

// Choose gives the id that the caller sees for an upstream's own: that one while the conversation has not used it and it is
// legal, else one of ours that carries it. An empty original gets one of ours.
func (x *IDs) Choose(original string) string {
	if original != "" && legalID(original) && !x.used[original] && !strings.HasPrefix(original, minted) {
		x.used[original] = true
		return original
	}
	id := minted + random62(16)
	if original != "" && len(original) <= 512 {
		id += "_" + base64.RawURLEncoding.EncodeToString([]byte(original))
	}
	x.used[id] = true
	return id
}

func legalID(s string) bool {
	if len(s) > 256 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return s != ""
}

// shortID is how long an id is that ShortID makes.
const shortID = len("call_") + 32

// ShortID makes ids of at most so many characters, but never below shortID, the same for a call and its result.
func ShortID(most int) func(string) string {
	return func(id string) string {
		if len(id) <= most {
			return id
		}
		sum := sha256.Sum256([]byte(id))
		return "call_" + hex.EncodeToString(sum[:16])
	}
}

// OriginalID is the upstream's own id behind one that the caller saw. Ids that are not ours come back as they are.
func OriginalID(id string) string {
	rest, ok := strings.CutPrefix(id, minted)
	if !ok || len(rest) < 17 || rest[16] != '_' {
		return id
	}
	b, err := base64.RawURLEncoding.DecodeString(rest[17:])
	if err != nil || len(b) == 0 {
		return id
	}
	return string(b)
}
