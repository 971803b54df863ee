// Package responses speaks OpenAI's Responses API as an upstream dialect: a request is a list of items, an answer is one too,
// and the reasoning between them travels as items of its own that only the provider can read.
//
// It is pure functions over bytes: Encode makes the request and gives a Job, which reads the answer. What every foreign
// dialect needs is done in package wire (Prepare on the way down, Engine on the way up). Nothing is ever stored at the
// provider (store is false), so the whole conversation goes up each time; carry.go keeps the reasoning items alive between turns.
// Who to call and with which key is the business of the provider packages.
//
// Read request.go for the way down, then stream.go for the events and items.go for what becomes of an item's pieces;
// response.go is the same for whole replies, stops.go finds stop sequences, which this API does not know.
package responses
