package config

import (
	"path/filepath"
)

// LoadProject reads what the files of a folder say (signalbox.yaml and .oss/config.json), under the rule for a project's files:
// names for targets, never keys, addresses, prices or chains. home is the user's folder, whose .oss/config.json is no project's.
// Targets are not checked: the gateway that gets the project knows what is configured. The warnings name what was not taken.
func LoadProject(dir, home string) (*Project, []string, error) {
	l := &loader{c: Default(), a: applier{where: map[string]place{}}}
	user := ""
	if home != "" {
		user = filepath.Join(home, ".oss", "config.json")
	}
	for file, rule := range orderedPairs(
		filepath.Join(dir, "signalbox.yaml"), projectFile,
		filepath.Join(dir, ".oss", "config.json"), seedProject) {
		if sameFile(file, user) {
			continue
		}
		if err := l.guest(file, rule); err != nil {
			return nil, nil, err
		}
	}
	return &Project{
		Default: l.c.Default, Aliases: l.c.Aliases,
		Agents: l.c.Agents, Commands: l.c.Commands, Skills: l.c.Skills, Hooks: l.c.Hooks,
	}, l.c.Warnings, nil
}
