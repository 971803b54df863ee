package main

import (
	"fmt"
	"regexp"
	"strings"
)

// rule is the source's matching logic; exactly one member is set.
type rule struct {
	Or         []rule  `json:"or"`
	And        []rule  `json:"and"`
	Equals     *string `json:"equals"`
	StartsWith *string `json:"starts_with"`
	EndsWith   *string `json:"ends_with"`
	Contains   *string `json:"contains"`
	Regex      *string `json:"regex"`
}

// flatten turns a rule into patterns of which one must fit. A pattern is one or more terms, parted by spaces, that must all
// fit; a term is lower-case text in which * is any run of characters and # one digit; ! before a term means that it must not fit.
func flatten(r rule) ([]string, error) {
	text := func(format, s string) ([]string, error) {
		if s == "" || strings.ContainsAny(s, "*#! ") {
			return nil, fmt.Errorf("text %q cannot stand in a pattern", s)
		}
		return []string{fmt.Sprintf(format, strings.ToLower(s))}, nil
	}
	switch {
	case r.Or != nil:
		var all []string
		for _, x := range r.Or {
			p, err := flatten(x)
			if err != nil {
				return nil, err
			}
			all = append(all, p...)
		}
		return all, nil
	case r.And != nil:
		all := []string{""}
		for _, x := range r.And {
			p, err := flatten(x)
			if err != nil {
				return nil, err
			}
			var next []string
			for _, a := range all {
				for _, b := range p {
					next = append(next, strings.TrimSpace(a+" "+b))
				}
			}
			all = next
		}
		return all, nil
	case r.Equals != nil:
		return text("%s", *r.Equals)
	case r.StartsWith != nil:
		return text("%s*", *r.StartsWith)
	case r.EndsWith != nil:
		return text("*%s", *r.EndsWith)
	case r.Contains != nil:
		return text("*%s*", *r.Contains)
	case r.Regex != nil:
		return fromRegex(*r.Regex)
	}
	return nil, fmt.Errorf("a rule of an unknown kind")
}

// noSpeech is the one look-ahead that the source uses: everything but the speech models.
const noSpeech = `^(?!.*-[tT][tT][sS](?:$|-))`

var digits = regexp.MustCompile(`\\d(?:\{(\d)\})?`)

// fromRegex reads the few shapes of regular expressions that the source uses: literal text with digits. Another shape is
// an error, to be looked at by a person when the source is raised.
func fromRegex(s string) ([]string, error) {
	if s == noSpeech {
		return []string{"!*-tts !*-tts-*"}, nil
	}
	body, ok := strings.CutPrefix(s, "^")
	if !ok {
		return nil, fmt.Errorf("regular expression %q is not understood", s)
	}
	body, closed := strings.CutSuffix(body, "$")
	body = digits.ReplaceAllStringFunc(body, func(m string) string {
		n := 1
		if len(m) > 2 {
			n = int(m[3] - '0')
		}
		return strings.Repeat("#", n)
	})
	body = strings.NewReplacer(`\.`, ".", `\[`, "[", `\]`, "]").Replace(body)
	if strings.ContainsAny(body, `\^$()|?+*{}! `) {
		return nil, fmt.Errorf("regular expression %q is not understood", s)
	}
	if !closed {
		body += "*"
	}
	return []string{strings.ToLower(body)}, nil
}

// fits is the meaning of patterns, as internal/pricing has it too.
func fits(patterns []string, id string) bool {
	for _, p := range patterns {
		all := true
		for term := range strings.FieldsSeq(p) {
			t, not := strings.CutPrefix(term, "!")
			if glob(t, id) == not {
				all = false
				break
			}
		}
		if all {
			return true
		}
	}
	return false
}

func glob(p, s string) bool {
	for i := 0; i < len(p); i++ {
		if p[i] == '*' {
			for j := 0; j <= len(s); j++ {
				if glob(p[i+1:], s[j:]) {
					return true
				}
			}
			return false
		}
		if s == "" || (p[i] == '#' && (s[0] < '0' || s[0] > '9')) || (p[i] != '#' && p[i] != s[0]) {
			return false
		}
		s = s[1:]
	}
	return s == ""
}
