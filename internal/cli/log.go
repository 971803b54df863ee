package cli

import (
	"io"
	"time"

	"github.com/sirupsen/logrus"
)

// newLogger is the one logger of the program: JSON lines for programs, text for a terminal, in colour unless NO_COLOR is set.
// Messages are constant and data is in fields, so that a newline in a value can never begin a line of its own.
func newLogger(env *Env, w io.Writer) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(w)
	if env.IsTTY(w) {
		log.SetFormatter(&logrus.TextFormatter{
			ForceColors: env.Color(w), DisableColors: !env.Color(w),
			FullTimestamp: true, TimestampFormat: "15:04:05",
		})
		return log
	}
	log.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
	return log
}
