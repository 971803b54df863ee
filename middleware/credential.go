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
// accident.
func Credential() gin.HandlerFunc {
	return func(c *gin.Context) {
		h := c.Request.Header
		var own Own
		if bearer := bearer(h); bearer != "" {
			own = Own{config.NewSecret(bearer), true}
		}
		if key := h.Get("X-Api-Key"); key != "" {
			own = Own{config.NewSecret(key), false}
		}
		for _, k := range []string{"Authorization", "X-Api-Key", "Proxy-Authorization", "Cookie"} {
			h.Del(k)
		}
		c.Set(credentialKey, own)
		c.Next()
	}
}

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
