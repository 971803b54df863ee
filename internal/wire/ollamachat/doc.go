// Package ollamachat speaks Ollama's native chat (POST /api/chat) for callers who speak Messages.
//
// The native endpoint is the one to use: it alone takes num_ctx, keep_alive, truncate and think, gives tool arguments as
// objects, and says when a prompt does not fit. Encode writes a request and returns a Job, which reads the answer: a whole
// reply, newline-delimited JSON, or an error of any shape. What a model can do and how large its window is the provider finds
// out (providers/ollama) and says in Options. The package knows no network and no clock.
//
// Read request.go for the way down, stream.go for the way up; types.go has what the provider must say, size.go what can be
// known of a prompt's length without a tokenizer.
//
// Source of the shapes: Ollama's api/types.go and server/routes.go, from 0.17.4 on.
package ollamachat
