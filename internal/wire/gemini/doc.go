// Package gemini speaks Google's Gemini API, generateContent and streamGenerateContent.
//
// It is pure functions over bytes: Encode makes the request and gives a Job, which reads the answer. What every foreign
// dialect needs is done in package wire (Prepare on the way down, Engine on the way up).
//
// What sets Gemini apart is that a model's reasoning state belongs to single parts: a thoughtSignature must come back on the
// very part it came with. carry.go packs each into the signature of a thinking block and puts it back in its place.
//
// Read request.go for the way down (thinking.go for the models' ways to think, schema.go for what a tool's schema may say),
// then stream.go for the way up; response.go is the same for whole replies.
package gemini
