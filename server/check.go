package server

import (
	"time"

	"github.com/sirupsen/logrus"

	"signalbox/config"
	"signalbox/providers"
)

// Check builds every provider of a configuration, as serving does on first use, and dials nobody: what only a provider itself
// knows (its profiles, its addresses) is wrong here too. The error is a *fault.Error of kind Invalid.
func Check(cfg *config.Config, log logrus.FieldLogger, version string) error {
	reg, err := Providers(cfg, providers.Deps{Log: log, Now: time.Now, Version: version})
	if err != nil {
		return err
	}
	defer reg.Close()
	for _, name := range reg.Names() {
		if _, err := reg.Get(name); err != nil {
			return err
		}
	}
	return nil
}
