// Package money is amounts and prices as whole numbers: arithmetic, reading and printing.
//
// Amounts are integer nano-USD, prices integer pico-USD a token; floats never touch either. Which price holds is the
// business of package pricing.
package money

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"strings"
)

// Amount is a sum of money in nano-USD (10⁻⁹ dollars). The range is ±9.2 billion dollars.
type Amount int64

// Price is money a token, in pico-USD (10⁻¹² dollars). $1 a million tokens is 1 000 000.
type Price int64

// Pico is a sum in pico-USD before it is rounded to an Amount. Sums are kept in it so that rounding happens once.
type Pico int64

// ErrRange is returned for a number that is no decimal or lies outside what the integer holds.
var ErrRange = errors.New("money: number out of range")

// Times is p × tokens, saturating at the ends of the range: 10⁹ tokens at $75 a million stay far inside it.
func (p Price) Times(tokens int64) Pico {
	if p <= 0 || tokens <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(p), uint64(tokens))
	if hi != 0 || lo > math.MaxInt64 {
		return math.MaxInt64
	}
	return Pico(lo)
}

// Add is a + b, saturating.
func (a Pico) Add(b Pico) Pico {
	if b > 0 && a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// Amount rounds half up to nano-USD. It is called once for each attempt.
func (a Pico) Amount() Amount {
	n := a / 1000
	if a%1000 >= 500 {
		n++
	}
	return Amount(n)
}

// ParseAmount reads dollars written as a JSON number or decimal text ("0.00095", "1e-7"), rounding half up to nano-USD.
func ParseAmount(s string) (Amount, error) {
	n, err := parseScaled(s, 9)
	return Amount(n), err
}

// ParsePerToken reads a price in dollars a token ("0.00000015"), as price lists of providers write it.
func ParsePerToken(s string) (Price, error) {
	n, err := parseScaled(s, 12)
	return Price(n), err
}

// ParsePerMillion reads a price in dollars a million tokens ("0.15"), as people write it.
func ParsePerMillion(s string) (Price, error) {
	n, err := parseScaled(s, 6)
	return Price(n), err
}

func parseScaled(s string, digits int) (int64, error) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > 64 {
		return 0, ErrRange
	}
	if n, ok := parsePlain(s, digits); ok {
		return n, nil
	}
	// An exponent of thousands would make big.Rat build a number of that many digits.
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		exp := strings.TrimLeft(s[i+1:], "+-0")
		if len(exp) > 2 {
			return 0, ErrRange
		}
	}
	for _, c := range s {
		if (c < '0' || c > '9') && !strings.ContainsRune("+-.eE", c) {
			return 0, ErrRange
		}
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return 0, ErrRange
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)))
	r.Add(r, big.NewRat(1, 2))
	n := new(big.Int).Div(r.Num(), r.Denom()) // floor of x + ½ is half up
	if !n.IsInt64() {
		return 0, ErrRange
	}
	return n.Int64(), nil
}

// parsePlain is the quick way for what nearly all prices look like: digits with at most one point, exact in the result. A
// price list of a thousand models is read at the first look-up.
func parsePlain(s string, digits int) (n int64, ok bool) {
	frac, point, any := 0, false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.' && !point:
			point = true
		case c >= '0' && c <= '9':
			if point {
				if frac++; frac > digits {
					return 0, false // may need rounding
				}
			}
			if n > (math.MaxInt64-9)/10 {
				return 0, false
			}
			n, any = n*10+int64(c-'0'), true
		default:
			return 0, false
		}
	}
	for ; frac < digits; frac++ {
		if n > math.MaxInt64/10 {
			return 0, false
		}
		n *= 10
	}
	return n, any
}

// String prints dollars exactly, without trailing zeros and with at least two decimals: "$0.00", "$0.00095".
func (a Amount) String() string { return "$" + a.Decimal() }

// Decimal prints dollars exactly as a decimal number: "0.00", "0.00095", "-1.50".
func (a Amount) Decimal() string {
	neg, u := "", uint64(a)
	if a < 0 {
		neg, u = "-", uint64(-a)
	}
	frac := strings.TrimRight(fmt.Sprintf("%09d", u%1e9), "0")
	for len(frac) < 2 {
		frac += "0"
	}
	return fmt.Sprintf("%s%d.%s", neg, u/1e9, frac)
}

// Dollars is the amount as a float, for Prometheus alone.
func (a Amount) Dollars() float64 { return float64(a) / 1e9 }
