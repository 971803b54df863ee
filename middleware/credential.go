package middleware

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"signalbox/config"
)

// Own is the caller's own credential: one that is not ours. It may go to an anthropic provider without a key, and to nobody
// else.
type Own struct {
	Secret config.Secret
	Bearer bool
}

// Credential takes the caller's credential out of the request's headers, so that nothing behind it can log or forward it by
// accident. The keys of this gateway are no caller's own: somebody who sends one here by mistake does not give it to an upstream; nor is the word for having none.
func Credential(current func() *config.Config) gin.HandlerFunc {
	return func(c *gin.Context) {
		h := c.Request.Header
		text, isBearer := bearer(h), true
		if key := h.Get("X-Api-Key"); key != "" {
			text, isBearer = key, false
		}
		var own Own
		if cfg := current(); text != "" && text != config.NoCredential && !same(cfg.AdminKey, text) && !same(cfg.MetricsKey, text) {
			own = Own{config.NewSecret(text), isBearer}
		}
		for _, k := range []string{"Authorization", "X-Api-Key", "Proxy-Authorization", "Cookie"} {
			h.Del(k)
		}
		c.Set(credentialKey, own)
		c.Next()
	}
}

func same(key config.Secret, text string) bool { return !key.Empty() && key.Equal(text) }

// bearer is the token of an Authorization header; the scheme's case is free.
func bearer(h http.Header) string {
	const scheme = "Bearer "
	v := h.Get("Authorization")
	if len(v) < len(scheme) || !strings.EqualFold(v[:len(scheme)], scheme) {
		return ""
	}
	return strings.TrimSpace(v[len(scheme):])
}

// Caller is the caller's own credential. Credential must have run.
func Caller(c *gin.Context) Own { return c.MustGet(credentialKey).(Own) }
