module signalbox/tests/claude-code

go 1.26.0
