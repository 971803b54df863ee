package middleware

import (
	"mime"
	"net"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"signalbox/config"
	"signalbox/internal/fault"
)

// Gate lets in who may speak to us at all. While no keys exist any program on this machine is a caller, but a web page in
// the user's browser is not: so only known Host names, no foreign Origin, and JSON alone on POST.
func Gate(current func() *config.Config, problem Problem, rejected func(reason string)) gin.HandlerFunc {
	return func(c *gin.Context) {
		deny := func(reason string, err error) {
			rejected(reason)
			problem(c, err)
			c.Abort()
		}
		r := c.Request
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		default:
			// Who asks for a tunnel or speaks another protocol does not go on with a second request.
			c.Writer.Header().Set("Connection", "close")
		}
		if !KnownHost(r.Host, current().AllowedHosts) {
			deny("host", fault.New(fault.Permission, "the Host %q is not served here; use localhost or 127.0.0.1, or add the name to allowed_hosts", clip(r.Host)))
			return
		}
		if origin := r.Header.Values("Origin"); len(origin) > 1 || len(origin) == 1 && !sameOrigin(origin[0], r.Host) {
			deny("origin", fault.New(fault.Permission, "requests from other web origins are refused"))
			return
		}
		for _, site := range r.Header.Values("Sec-Fetch-Site") {
			if site != "" && site != "none" && site != "same-origin" {
				deny("origin", fault.New(fault.Permission, "cross-site requests of a browser are refused"))
				return
			}
		}
		if r.Method == http.MethodOptions {
			deny("origin", fault.New(fault.Permission, "preflight requests are refused; there is no CORS here"))
			return
		}
		if r.Method == http.MethodPost && !isJSON(r.Header) && !isUpload(r) {
			deny("content_type", fault.New(fault.MediaType, "content-type: must be application/json"))
			return
		}
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			LeaveBody(c) // nobody reads it
		}
		if enc := r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
			deny("content_type", fault.New(fault.MediaType, "content-encoding: request bodies must not be compressed"))
			return
		}
		c.Next()
	}
}

// KnownHost reports whether a Host header names this machine, or a name that the configuration allows. Any port will do.
func KnownHost(host string, allowed []string) bool {
	name := strings.ToLower(host)
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	} else if name == "[::1]" {
		name = "::1"
	}
	name = strings.TrimSuffix(name, ".")
	switch name {
	case "localhost", "127.0.0.1", "::1":
		return true
	}
	for _, a := range allowed {
		if name == strings.TrimSuffix(strings.ToLower(a), ".") && name != "" {
			return true
		}
	}
	return false
}

// sameOrigin reports whether an Origin is the very host that was asked: nothing before it, nothing behind.
func sameOrigin(origin, host string) bool {
	return host != "" && (strings.EqualFold(origin, "http://"+host) || strings.EqualFold(origin, "https://"+host))
}

// isUpload reports whether a request brings a file for Anthropic's files, the one thing that is no JSON. A form of a web page
// has that type too, but says where it comes from, which was looked at before.
func isUpload(r *http.Request) bool {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && t == "multipart/form-data" && (r.URL.Path == "/v1/files" || strings.HasSuffix(r.URL.Path, "/v1/files"))
}

func isJSON(h http.Header) bool {
	if len(h.Values("Content-Type")) != 1 {
		return false
	}
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && (t == "application/json" || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json"))
}

func clip(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// Admin lets in this machine alone, asked by its own name and by nobody's proxy, or whoever has the admin key.
func Admin(current func() *config.Config, problem Problem, rejected func(reason string)) gin.HandlerFunc {
	return func(c *gin.Context) {
		r := c.Request
		if key := current().AdminKey; !key.Empty() && carries(r, key) {
			c.Next()
			return
		}
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		ip := net.ParseIP(host)
		forwarded := r.Header.Get("Forwarded") != ""
		for k := range r.Header {
			forwarded = forwarded || strings.HasPrefix(k, "X-Forwarded-")
		}
		if err != nil || ip == nil || !ip.IsLoopback() || !KnownHost(r.Host, nil) || forwarded {
			rejected("admin")
			problem(c, fault.New(fault.Permission, "the admin API is for this machine alone, or for the admin_key"))
			c.Abort()
			return
		}
		c.Next()
	}
}

// Scrape asks for the metrics key once one is set.
func Scrape(current func() *config.Config, problem Problem, rejected func(reason string)) gin.HandlerFunc {
	return func(c *gin.Context) {
		if key := current().MetricsKey; !key.Empty() && !carries(c.Request, key) {
			rejected("metrics_key")
			problem(c, fault.New(fault.Authentication, "this page needs the metrics_key as x-api-key or Authorization: Bearer"))
			c.Abort()
			return
		}
		c.Next()
	}
}

func carries(r *http.Request, key config.Secret) bool {
	return key.Equal(r.Header.Get("X-Api-Key")) || key.Equal(bearer(r.Header))
}
