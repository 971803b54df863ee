package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"signalbox/internal/money"
)

// A scalar is a type that reads itself from the text of one YAML value.
type scalar interface{ setText(text string) error }

// String writes the duration as Go does ("5m0s"), which setText reads.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// setText reads what time.ParseDuration reads, and whole or broken days ("400d", "1d12h").
func (d *Duration) setText(text string) error {
	const example = `write a number with its unit, as in 300ms, 30s, 5m, 2h or 400d`
	rest, total := text, time.Duration(0)
	if days, after, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return fmt.Errorf("%q is no duration: %s", text, example)
		}
		total, rest = time.Duration(n)*24*time.Hour, after
	}
	if rest != "" {
		t, err := time.ParseDuration(rest)
		if err != nil || t < 0 {
			return fmt.Errorf("%q is no duration: %s", text, example)
		}
		total += t
	}
	if text == "" || total < 0 {
		return fmt.Errorf("%q is no duration: %s", text, example)
	}
	*d = Duration(total)
	return nil
}

// setText reads auto or a number of tokens.
func (n *NumCtx) setText(text string) error {
	if text == "auto" {
		*n = 0
		return nil
	}
	v, err := strconv.ParseInt(text, 10, 32)
	if err != nil || v < 1 {
		return fmt.Errorf("%q is neither auto nor a number of tokens above 0", text)
	}
	*n = NumCtx(v)
	return nil
}

// MarshalText writes auto or the number.
func (n NumCtx) MarshalText() ([]byte, error) {
	if n == 0 {
		return []byte("auto"), nil
	}
	return strconv.AppendInt(nil, int64(n), 10), nil
}

// setText reads auto, on or off. YAML of the old kind reads on and off as truth; here they are words, and so are true and false.
func (t *TextTools) setText(text string) error {
	switch text {
	case "true", "yes":
		text = "on"
	case "false", "no":
		text = "off"
	}
	switch v := TextTools(text); v {
	case TextToolsAuto, TextToolsOn, TextToolsOff:
		*t = v
		return nil
	}
	return fmt.Errorf("%q is neither auto nor on nor off", text)
}

// setText keeps the number as it is written, once it is known to be a price.
func (d *Decimal) setText(text string) error {
	p, err := money.ParsePerMillion(text)
	if err != nil || p < 0 {
		return fmt.Errorf("%q is no price: write USD per million tokens as a decimal of 0 or more, as in 0.15", text)
	}
	*d = Decimal(text)
	return nil
}

// setText takes the value as it stands; the loader resolves env: and file: when it knows which file it came from.
func (s *Secret) setText(text string) error {
	if strings.ContainsAny(text, "\r\n\x00") {
		return errors.New("a key is one line of text")
	}
	*s = Secret{value: text, unread: true}
	return nil
}
