module signalbox/tests/acceptance

go 1.26
