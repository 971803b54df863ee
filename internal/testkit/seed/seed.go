// Package seed keeps docs/seed.md true: the table of what the plan that signalbox began with asked for, and of the faults of a
// program before it, each with the tests that prove it. Everything is in its test; nothing on the map imports it.
package seed
