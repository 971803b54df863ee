package config

import (
	"fmt"
	"strings"
)

// expander replaces ${VAR}, ${VAR:-default} and ${VAR:?message} in a string value; $${ stands for a literal ${. It runs after
// parsing, so no value can become YAML, and only once, so no value can name another variable.
func expander(getenv func(string) string) func(string) (string, error) {
	return func(s string) (string, error) {
		var out strings.Builder
		for {
			i := strings.Index(s, "${")
			if i < 0 {
				out.WriteString(s)
				return out.String(), nil
			}
			if i > 0 && s[i-1] == '$' {
				out.WriteString(s[:i-1] + "${")
				s = s[i+2:]
				continue
			}
			out.WriteString(s[:i])
			inner, rest, ok := strings.Cut(s[i+2:], "}")
			if !ok {
				return "", fmt.Errorf("${ without its }")
			}
			name, fallback, message := reference(inner)
			if !variableName(name) {
				return "", fmt.Errorf("${%s}: no name of an environment variable", inner)
			}
			v := getenv(name)
			switch {
			case v != "":
			case fallback != nil:
				v = *fallback
			case message != "":
				return "", fmt.Errorf("environment variable %s: %s", name, message)
			default:
				return "", fmt.Errorf("environment variable %s is not set; ${%s:-default} gives it a default", name, name)
			}
			out.WriteString(v)
			s = rest
		}
	}
}

// reference takes the inside of ${…} apart. fallback is nil when none is written.
func reference(inner string) (name string, fallback *string, message string) {
	if n, d, ok := strings.Cut(inner, ":-"); ok {
		return n, &d, ""
	}
	if n, m, ok := strings.Cut(inner, ":?"); ok {
		return n, nil, strings.TrimSpace(m)
	}
	return inner, nil, ""
}

// pureReference reports whether s is one ${VAR} and nothing else, so that none of its value stands in the file.
func pureReference(s string) bool {
	inner, ok := strings.CutPrefix(s, "${")
	if !ok || !strings.HasSuffix(inner, "}") {
		return false
	}
	name, fallback, _ := reference(strings.TrimSuffix(inner, "}"))
	return variableName(name) && (fallback == nil || *fallback == "")
}

func variableName(s string) bool {
	for i, c := range s {
		letter := c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
