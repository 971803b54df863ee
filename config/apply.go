package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// place is where a key was written.
type place struct {
	file string
	line int
	// guest marks a file that only offers names and targets (a project's, the seed's): what it names and we do not have is a
	// warning, since a cloned repository must not keep a gateway from starting.
	guest bool
	firm  bool // a project's file is below it
}

// applier writes nodes into the configuration, one layer over the other: members of mappings are merged, everything else
// is replaced. It remembers where each key came from, so that a later check can say so.
type applier struct {
	where map[string]place
	from  place
}

// members takes every member of n; a name that the type does not have is an error with its line.
func (a *applier) members(dst reflect.Value, n *node, path string) error {
	for _, m := range n.members {
		if err := a.member(dst, m, path); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) member(dst reflect.Value, m member, path string) error {
	i, ok := fieldNamed(dst.Type(), m.name)
	if !ok {
		e := &Error{File: a.from.file, Line: m.line, Key: join(path, m.name), Message: "unknown key"}
		if near := nearest(m.name, fieldNames(dst.Type())); near != "" {
			e.Message += "; did you mean " + near + "?"
		}
		return e
	}
	return a.set(dst.Field(i), m.value, join(path, m.name), m.line)
}

func (a *applier) set(dst reflect.Value, n *node, path string, line int) error {
	if n.form == nothing {
		return nil // "key:" with nothing behind it leaves the layer below
	}
	here := a.from
	here.line = line
	a.where[path] = here
	fail := func(format string, args ...any) error {
		return &Error{File: a.from.file, Line: line, Key: path, Message: fmt.Sprintf(format, args...)}
	}
	if s, ok := dst.Addr().Interface().(scalar); ok {
		if n.form == mapping || n.form == list {
			return fail("expected one value, and this is %s", n.form)
		}
		if err := s.setText(n.text); err != nil {
			return fail("%s", err)
		}
		if secret, ok := s.(*Secret); ok {
			secret.literal = n.literal
		}
		return nil
	}
	if s, ok := dst.Addr().Interface().(shorthand); ok && (n.form == text || n.form == number) {
		s.setShort(n.text)
		return nil
	}
	switch dst.Kind() {
	case reflect.Struct:
		if n.form != mapping {
			return fail("expected a mapping, and this is %s", n.form)
		}
		return a.members(dst, n, path)
	case reflect.Map:
		if n.form != mapping {
			return fail("expected a mapping, and this is %s", n.form)
		}
		if dst.IsNil() {
			dst.Set(reflect.MakeMapWithSize(dst.Type(), len(n.members)))
		}
		for _, m := range n.members {
			elem := reflect.New(dst.Type().Elem()).Elem()
			if old := dst.MapIndex(reflect.ValueOf(m.name)); old.IsValid() {
				elem.Set(old)
			}
			if err := a.set(elem, m.value, join(path, m.name), m.line); err != nil {
				return err
			}
			dst.SetMapIndex(reflect.ValueOf(m.name), elem)
		}
	case reflect.Slice:
		if _, ok := reflect.New(dst.Type().Elem()).Interface().(shorthand); ok && (n.form == text || n.form == mapping) {
			n = &node{line: n.line, form: list, items: []*node{n}} // one alone needs no brackets
		}
		if n.form != list {
			return fail("expected a list, and this is %s", n.form)
		}
		out := reflect.MakeSlice(dst.Type(), len(n.items), len(n.items))
		for i, item := range n.items {
			if item.form == nothing {
				return fail("item %d is empty", i+1)
			}
			if err := a.set(out.Index(i), item, path, item.line); err != nil {
				return err
			}
		}
		dst.Set(out)
	case reflect.Pointer:
		p := reflect.New(dst.Type().Elem())
		if err := a.set(p.Elem(), n, path, line); err != nil {
			return err
		}
		dst.Set(p)
	case reflect.String:
		if n.form != text && n.form != number {
			return fail("expected text, and this is %s", n.form)
		}
		dst.SetString(n.text)
	case reflect.Bool:
		// Text is taken too, since an expanded ${VAR} and the environment can only give text.
		if n.text != "true" && n.text != "false" || n.form != boolean && n.form != text {
			return fail("expected true or false")
		}
		dst.SetBool(n.text == "true")
	case reflect.Int, reflect.Int64:
		v, err := strconv.ParseInt(n.text, 10, dst.Type().Bits())
		if err != nil || n.form != number && n.form != text {
			return fail("expected a whole number")
		}
		dst.SetInt(v)
	case reflect.Uint32:
		v, err := strconv.ParseUint(n.text, 10, 32)
		if err != nil || n.form != number && n.form != text {
			return fail("expected a whole number of 0 or more")
		}
		dst.SetUint(v)
	default:
		return fail("cannot be set") // a field type that nobody taught this switch; the tests walk every field
	}
	return nil
}

// environment overlays every key that has its variable: SIGNALBOX_ and the path in capitals, whatever is not a letter or a
// digit written as an underscore. Mappings and lists are written as YAML.
func (a *applier) environment(dst reflect.Value, path string, getenv func(string) string) error {
	a.from = place{firm: true}
	for i := range dst.NumField() {
		name := yamlName(dst.Type().Field(i))
		if name == "" {
			continue
		}
		field, key := dst.Field(i), join(path, name)
		variable := VariableName(key)
		if v := getenv(variable); v != "" {
			n, err := environmentNode(field, v)
			if err == nil {
				err = a.set(field, n, key, 0)
			}
			if err != nil {
				return &Error{Key: variable, Message: messageOf(err)}
			}
			a.where[key] = place{file: variable, firm: true}
		}
		_, leaf := field.Addr().Interface().(scalar)
		switch {
		case leaf:
		case field.Kind() == reflect.Struct:
			if err := a.environment(field, key, getenv); err != nil {
				return err
			}
		case field.Kind() == reflect.Map && field.Type().Elem().Kind() == reflect.Struct:
			for _, k := range field.MapKeys() { // each entry that the files named has variables of its own
				entry := reflect.New(field.Type().Elem()).Elem()
				entry.Set(field.MapIndex(k))
				if err := a.environment(entry, join(key, k.String()), getenv); err != nil {
					return err
				}
				field.SetMapIndex(k, entry)
			}
		}
	}
	return nil
}

func environmentNode(field reflect.Value, v string) (*node, error) {
	_, leaf := field.Addr().Interface().(scalar)
	switch {
	case leaf:
	case field.Kind() == reflect.Map, field.Kind() == reflect.Struct:
		return parse([]byte(v), nil)
	case field.Kind() == reflect.Slice:
		if strings.HasPrefix(strings.TrimSpace(v), "[") {
			return parse([]byte(v), nil)
		}
		out := &node{form: list}
		for item := range strings.SplitSeq(v, ",") {
			out.items = append(out.items, &node{form: text, text: strings.TrimSpace(item)})
		}
		return out, nil
	}
	return &node{form: text, text: v}, nil
}

// VariableName is the environment variable of a key: retry.attempts is SIGNALBOX_RETRY_ATTEMPTS.
func VariableName(key string) string {
	return "SIGNALBOX_" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, key)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// yamlName is a field's name in YAML; empty for one that is not configured.
func yamlName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" {
		return ""
	}
	return name
}

func fieldNamed(t reflect.Type, name string) (int, bool) {
	for i := range t.NumField() {
		if name != "" && yamlName(t.Field(i)) == name {
			return i, true
		}
	}
	return 0, false
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if name := yamlName(t.Field(i)); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// nearest is the name that a slip of the finger may have meant: at most two letters away, or the same without _ and -.
func nearest(wrong string, names []string) string {
	if len(wrong) > 64 {
		return ""
	}
	plain := func(s string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s)) }
	best, at := "", 3
	for _, name := range names {
		d := distance(wrong, name)
		if plain(wrong) == plain(name) {
			d = 0
		}
		if d < at && d*2 < len(name) {
			best, at = name, d
		}
	}
	return best
}

// distance is the number of single-letter edits between two short words, a swap of neighbours counting as one.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = slices.Min([]int{rows[i-1][j] + 1, rows[i][j-1] + 1, rows[i-1][j-1] + cost})
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
