// Package testkit is what tests of several rooms share: real parts that are started for a test, a coding agent's requests
// (bodies.go), the strictest reader of a stream (legal.go), and the test that keeps the arrows of ARCHITECTURE.md pointing
// downhill.
//
// It is imported by tests alone and leaves what only one room needs to that room's own tests. Begin with realollama.go.
package testkit
