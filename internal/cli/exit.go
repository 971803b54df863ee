package cli

import "errors"

// The exit codes of every command.
const (
	exitOK       = 0
	exitFailure  = 1
	exitUsage    = 2 // usage or configuration
	exitPort     = 3 // the port is in use
	exitNoTarget = 5 // no target can serve; never by serve
)

// ExitError is a failure with the exit code that belongs to it. Port and PID go into the JSON form of the error; zero is
// left out.
type ExitError struct {
	Code int
	Err  error
	Port int
	PID  int
	// Printed says that the error has been written already.
	Printed bool
}

// Error is the error's own text.
func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap gives the error.
func (e *ExitError) Unwrap() error { return e.Err }

// fail gives err an exit code.
func fail(code int, err error) error { return &ExitError{Code: code, Err: err} }

// failText is fail for a sentence.
func failText(code int, text string) error { return fail(code, errors.New(text)) }
