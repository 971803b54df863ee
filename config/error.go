package config

import (
	"errors"
	"strconv"
	"strings"
)

// Error is a configuration that cannot be used: exit code 2 at the start, a line in the log at a reload.
type Error struct {
	File    string // where it was written: a file, a flag or an environment variable; empty when it is nobody's line
	Line    int    // 0 when unknown
	Key     string // the YAML path, as in providers.openrouter.api_key
	Message string // what is wrong and what to do; never a secret
}

// Error reads "config.yaml:7: providers.lab.base_url: …".
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			b.WriteString(":" + strconv.Itoa(e.Line))
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// ExitCode is 2: usage or configuration.
func (e *Error) ExitCode() int { return 2 }

// inFile puts the file's name to an error that does not have one.
func inFile(err error, file string) error {
	var e *Error
	if errors.As(err, &e) {
		if e.File == "" {
			e.File = file
		}
		return e
	}
	return &Error{File: file, Message: err.Error()}
}

func messageOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}
