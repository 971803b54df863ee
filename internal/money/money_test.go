package money

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		amount   int64
		ok       bool
	}{
		{"it reads dollars", "1", 1e9, true},
		{"it reads cents", "0.01", 1e7, true},
		{"it reads what OpenRouter writes", "0.00095", 950_000, true},
		{"it reads an exponent", "9.5e-4", 950_000, true},
		{"it reads a large exponent sign", "1E+2", 100e9, true},
		{"it rounds half up", "0.0000000005", 1, true},
		{"it rounds below a half down", "0.00000000049999", 0, true},
		{"it rounds a negative half up", "-0.0000000005", 0, true},
		{"it reads a negative", "-1.5", -1_500_000_000, true},
		{"it reads a bare point before digits", ".5", 5e8, true},
		{"it reads a point after digits", "5.", 5e9, true},
		{"it reads around spaces", " 2 ", 2e9, true},
		{"it reads the largest", "9223372036.854775807", math.MaxInt64, true},
		{"it refuses more than the largest", "9223372036.854775808", 0, false},
		{"it refuses nothing", "", 0, false},
		{"it refuses a lone point", ".", 0, false},
		{"it refuses two points", "1.2.3", 0, false},
		{"it refuses a fraction", "1/3", 0, false},
		{"it refuses hexadecimal", "0x10", 0, false},
		{"it refuses underscores", "1_000", 0, false},
		{"it refuses words", "NaN", 0, false},
		{"it refuses infinity", "Inf", 0, false},
		{"it refuses a giant exponent", "1e999999999", 0, false},
		{"it refuses a giant negative exponent", "1e-999999999", 0, false},
		{"it refuses a text without end", strings.Repeat("9", 65), 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseAmount(tt.in)
			if (err == nil) != tt.ok || int64(got) != tt.amount {
				t.Errorf("ParseAmount(%q) = %d, %v", tt.in, got, err)
			}
			if err != nil && !errors.Is(err, ErrRange) {
				t.Errorf("error %v", err)
			}
		})
	}
	if p, err := ParsePerMillion("0.15"); p != 150_000 || err != nil {
		t.Errorf("per million: %d %v", p, err)
	}
	if p, err := ParsePerToken("0.00000015"); p != 150_000 || err != nil {
		t.Errorf("per token: %d %v", p, err)
	}
	if p, err := ParsePerToken("7.5e-8"); p != 75_000 || err != nil {
		t.Errorf("per token with an exponent: %d %v", p, err)
	}
}

func TestPrint(t *testing.T) {
	for a, want := range map[Amount]string{
		0: "0.00", 1: "0.000000001", 950_000: "0.00095", 1e9: "1.00", 1_500_000_000: "1.50", -1_500_000_000: "-1.50", 1_234_567_891: "1.234567891",
		math.MaxInt64: "9223372036.854775807", math.MinInt64: "-9223372036.854775808",
	} {
		if got := a.Decimal(); got != want {
			t.Errorf("%d prints %s, want %s", int64(a), got, want)
		}
		if got := a.String(); got != "$"+want {
			t.Errorf("%d prints %s", int64(a), got)
		}
	}
}

func TestSumsSaturate(t *testing.T) {
	for _, tt := range []struct {
		p    Price
		n    int64
		want Pico
	}{
		{75_000_000, 1_000_000_000, 75_000_000 * 1_000_000_000}, // a billion tokens at $75 a million
		{math.MaxInt64, 2, math.MaxInt64},
		{math.MaxInt64, math.MaxInt64, math.MaxInt64},
		{-1, 5, 0}, {5, -1, 0}, {0, 5, 0},
	} {
		if got := tt.p.Times(tt.n); got != tt.want {
			t.Errorf("%d × %d = %d, want %d", tt.p, tt.n, got, tt.want)
		}
	}
	if got := Pico(math.MaxInt64).Add(1); got != math.MaxInt64 {
		t.Errorf("the sum wrapped to %d", got)
	}
	for p, want := range map[Pico]Amount{0: 0, 499: 0, 500: 1, 1499: 1, 1500: 2, math.MaxInt64: math.MaxInt64/1000 + 1} {
		if got := p.Amount(); got != want {
			t.Errorf("%d pico are %d nano, want %d", p, got, want)
		}
	}
}

// TestQuickWayAgrees holds the quick reader against exact rational arithmetic.
func TestQuickWayAgrees(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50_000 {
		s := strconv.FormatUint(r.Uint64N(1e12), 10)
		if r.IntN(3) > 0 {
			s += "." + strings.Repeat("0", r.IntN(6)) + strconv.FormatUint(r.Uint64N(1e9), 10)
		}
		x, _ := new(big.Rat).SetString(s)
		x.Mul(x, big.NewRat(1_000_000_000, 1)).Add(x, big.NewRat(1, 2))
		want := new(big.Int).Div(x.Num(), x.Denom())
		got, err := ParseAmount(s)
		if want.IsInt64() != (err == nil) || err == nil && int64(got) != want.Int64() {
			t.Fatalf("ParseAmount(%q) = %d, %v; exactly %s", s, got, err, want)
		}
	}
}

// FuzzParseAmount: whatever is read prints as itself.
func FuzzParseAmount(f *testing.F) {
	for _, s := range []string{"0.00095", "1e-7", "-1.5", "9223372036.854775807", "1e99", "..", "+1", "1e+-5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAmount(s)
		if err != nil {
			return
		}
		b, err := ParseAmount(a.Decimal())
		if err != nil || a != b {
			t.Fatalf("%q is %d and prints %s, which is %d (%v)", s, a, a.Decimal(), b, err)
		}
	})
}

func BenchmarkParsePerMillion(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParsePerMillion("0.435"); err != nil {
			b.Fatal(err)
		}
	}
}
