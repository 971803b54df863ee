// Package openaichat speaks OpenAI's chat completions, the dialect that most servers offer: OpenAI itself, OpenRouter, and
// the many that call themselves compatible.
//
// It is pure functions over bytes: Encode makes the request and gives a Job, which reads the answer. What every foreign
// dialect needs is done in package wire (Prepare on the way down, Engine on the way up); where the speakers of this dialect
// differ, Quirks says so as data. Who to call and with which key is the business of the provider packages.
//
// Read quirks.go for what may differ, request.go for the way down, then stream.go for the way up; response.go is the same for
// whole replies, carry.go keeps a provider's opaque reasoning state alive between turns.
package openaichat
