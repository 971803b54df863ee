module signalbox/tests/models/make

go 1.26.0
