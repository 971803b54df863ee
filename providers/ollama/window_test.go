package ollama

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/providers"
)

var c0 providers.Deps

func TestWindow(t *testing.T) {
	for name, c := range map[string]struct {
		cfg     config.Provider
		limit   int // of the model; 0: /api/show fails
		prompts []int
		want    []int // num_ctx sent, 0 for refused
	}{
		"it starts at 32768": {limit: 131072, prompts: []int{10, 100}, want: []int{32768, 32768}},
		"it starts at the model's limit when that is less": {limit: 8192, prompts: []int{10}, want: []int{8192}},
		"it starts at max_num_ctx when that is less":       {cfg: config.Provider{MaxNumCtx: 4096}, limit: 131072, prompts: []int{10}, want: []int{4096}},
		"it doubles once when a prompt needs it":           {limit: 131072, prompts: []int{10, 30_000, 10}, want: []int{32768, 65536, 65536}},
		"it doubles as often as a prompt needs it":         {limit: 1 << 20, prompts: []int{70_000, 10}, want: []int{131072, 131072}},
		"it never grows beyond the model's limit":          {limit: 40960, prompts: []int{29_000, 10}, want: []int{40960, 40960}},
		"it never grows beyond max_num_ctx":                {cfg: config.Provider{MaxNumCtx: 50_000}, limit: 131072, prompts: []int{36_000}, want: []int{50_000}},
		"it takes a number as it is":                       {cfg: config.Provider{NumCtx: 16384}, limit: 131072, prompts: []int{10, 14_000}, want: []int{16384, 16384}},
		"it refuses what cannot fit the number":            {cfg: config.Provider{NumCtx: 4096}, limit: 131072, prompts: []int{4097, 4096}, want: []int{0, 4096}},
		"it refuses what cannot fit the model":             {limit: 8192, prompts: []int{8193, 8192}, want: []int{0, 8192}},
		"it refuses what cannot fit max_num_ctx":           {cfg: config.Provider{MaxNumCtx: 8192}, limit: 131072, prompts: []int{8193, 8192}, want: []int{0, 8192}},
		"it goes on without knowing":                       {prompts: []int{10, 50_000}, want: []int{32768, 32768}},
		"it refuses nothing without knowing":               {prompts: []int{500_000}, want: []int{32768}},
		"it keeps to max_num_ctx without knowing":          {cfg: config.Provider{MaxNumCtx: 8192}, prompts: []int{10, 9000}, want: []int{8192, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			if c.limit > 0 {
				s.show = limited(c.limit)
			}
			c.cfg.BaseURL = s.URL
			p, log := client(t, c.cfg)
			grown, sent := 0, 0
			for i, words := range c.prompts {
				_, _, err := send(t.Context(), p, call(t, "m", prompt(words)))
				if c.want[i] == 0 {
					f := fault.From(err)
					if f == nil || f.Kind != fault.ContextOverflow || !f.Void || !strings.HasPrefix(f.Message, "prompt is too long: ") || !strings.HasSuffix(f.Message, " maximum") {
						t.Fatalf("prompt %d: got %v, want a refusal", i, err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := s.sent(t, sent).Options.NumCtx; got != c.want[i] {
					t.Errorf("prompt %d: num_ctx is %d, want %d", i, got, c.want[i])
				}
				sent++
			}
			if s.chats() != sent {
				t.Errorf("%d chats for %d prompts that could fit", s.chats(), sent)
			}
			for size := 32768; size < c.want[0] || len(c.want) > 1 && size < c.want[1]; size *= 2 {
				grown++
			}
			if n := len(log.AllEntries()); n != grown {
				t.Errorf("%d growths are logged, want %d", n, grown)
			}
		})
	}
}

func TestOneWindowForTwoNames(t *testing.T) {
	s := serve(t)
	s.show = limited(131072)
	c, _ := client(t, config.Provider{BaseURL: s.URL})
	for i, model := range []string{"m", "m:latest", "hf.co/x/m", "m"} {
		words := 10
		if i == 0 {
			words = 30_000
		}
		if _, _, err := send(t.Context(), c, call(t, model, prompt(words))); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []int{65536, 65536, 32768, 65536} {
		if got := s.sent(t, i).Options.NumCtx; got != want {
			t.Errorf("chat %d: num_ctx is %d, want %d", i, got, want)
		}
	}
}

// A prompt that was thought to fit and did not gets a larger window at once: an agent that hears of an overflow throws its
// history away.
func TestGrowsAfterAnOverflow(t *testing.T) {
	const unknown = `{"error":"the input length exceeds the context length"}`
	for name, c := range map[string]struct {
		cfg  config.Provider
		most int      // of the model
		says []string // what the server answers; then it is content
		want []int    // num_ctx sent
		over bool     // the caller hears of the overflow
	}{
		"it asks for twice as much":                      {most: 131072, says: []string{unknown}, want: []int{32768, 65536}},
		"it asks for as much as the model can have":      {most: 131072, says: []string{unknown, unknown, unknown}, want: []int{32768, 65536, 131072}, over: true},
		"it asks for what the server counted":            {most: 262144, says: []string{figures(70_000, 32768)}, want: []int{32768, 131072}},
		"it knows that a window is rounded up":           {most: 131072, says: []string{figures(40_000, 33_000)}, want: []int{32768, 65536}},
		"it asks for no more than can be":                {most: 40_000, says: []string{figures(40_001, 32768)}, want: []int{32768}, over: true},
		"it leaves a server alone that has its own mind": {most: 131072, says: []string{figures(5000, 4096)}, want: []int{32768}, over: true},
		"it keeps to a number that is set":               {cfg: config.Provider{NumCtx: 8192}, most: 131072, says: []string{unknown}, want: []int{8192}, over: true},
		"it keeps to the model's limit":                  {most: 8192, says: []string{unknown}, want: []int{8192}, over: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			s.show = limited(c.most)
			s.chat = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
				if n := s.chats(); n <= len(c.says) {
					w.WriteHeader(http.StatusBadRequest)
					_, _ = io.WriteString(w, c.says[n-1])
					return
				}
				_, _ = io.WriteString(w, ok)
			}
			c.cfg.BaseURL = s.URL
			p, log := client(t, c.cfg)
			_, _, err := send(t.Context(), p, call(t, "m", prompt(10)))
			if over := kindOf(err) == fault.ContextOverflow; over != c.over || err != nil && !over {
				t.Errorf("got %v", err)
			}
			for i, want := range c.want {
				if got := s.sent(t, i).Options.NumCtx; got != want {
					t.Errorf("chat %d: num_ctx is %d, want %d", i, got, want)
				}
			}
			if s.chats() != len(c.want) || len(c.want) > 1 && len(log.AllEntries()) == 0 {
				t.Errorf("%d chats, %d lines logged", s.chats(), len(log.AllEntries()))
			}
		})
	}
}

func figures(prompt, limit int) string {
	return fmt.Sprintf(`{"error":"request (%d tokens) exceeds the available context size (%d tokens), try increasing it"}`, prompt, limit)
}

// The server's own counts teach how many tokens a byte has here.
func TestLearnsDensity(t *testing.T) {
	s := serve(t)
	s.show = limited(131072)
	s.chat = func(w http.ResponseWriter, _ *http.Request, body []byte) {
		fmt.Fprintf(w, `{"message":{"content":"ok"},"done":true,"prompt_eval_count":%d,"eval_count":1}`, len(body)/2)
	}
	c, _ := client(t, config.Provider{BaseURL: s.URL})
	for _, words := range []int{10_000, 14_000} { // 70 KB: 20,000 tokens by the first guess, 35,000 as this server counts
		if _, _, err := send(t.Context(), c, call(t, "m", prompt(words))); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := s.sent(t, 0).Options.NumCtx, s.sent(t, 1).Options.NumCtx; a != 32768 || b != 65536 {
		t.Errorf("num_ctx was %d, then %d", a, b)
	}
}

// What cannot fit is refused wherever in the conversation it stands, before the server has answered anything.
func TestRefusesAHistory(t *testing.T) {
	s := serve(t)
	s.show = limited(8192)
	p, _ := client(t, config.Provider{BaseURL: s.URL})
	long := strings.Repeat("rule ", 9000)
	for name, body := range map[string]string{
		"the system prompt": `"system":"` + long + `","messages":[{"role":"user","content":"Hi"}]`,
		"an earlier turn":   `"messages":[{"role":"user","content":"` + long + `"},{"role":"assistant","content":"ok"},{"role":"user","content":"Hi"}]`,
		"all of it":         `"system":"` + long[:20_000] + `","messages":[{"role":"user","content":"` + long[:20_000] + `"},{"role":"assistant","content":"ok"},{"role":"user","content":"` + long[:20_000] + `"}]`,
		"a run of data":     `"messages":[{"role":"user","content":"` + strings.Repeat("x", 40_000) + `"}]`,
	} {
		for _, stream := range []string{"true", "false"} {
			_, _, err := send(t.Context(), p, call(t, "m", `{"max_tokens":9,"stream":`+stream+`,`+body+`}`))
			if f := fault.From(err); err == nil || f.Kind != fault.ContextOverflow || !f.Void {
				t.Errorf("%s, stream %s: got %v", name, stream, err)
			}
		}
	}
	if n := s.chats(); n != 0 {
		t.Errorf("%d chats", n)
	}
}

// TestLoadedWindow: a model that the server holds with a larger window keeps it.
func TestLoadedWindow(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  config.Provider
		ps   string
		want int
	}{
		"it keeps a larger one":                     {ps: `{"models":[{"name":"other:latest","context_length":5},{"name":"m:latest","model":"m:latest","context_length":65536}]}`, want: 65536},
		"it begins as ever above a smaller one":     {ps: `{"models":[{"name":"m:latest","context_length":4096}]}`, want: 32768},
		"it keeps no more than max_num_ctx":         {cfg: config.Provider{MaxNumCtx: 40_000}, ps: `{"models":[{"name":"m:latest","context_length":65536}]}`, want: 40_000},
		"it takes a number that is set as it is":    {cfg: config.Provider{NumCtx: 8192}, ps: `{"models":[{"name":"m:latest","context_length":65536}]}`, want: 8192},
		"it believes no window beyond the model's":  {ps: `{"models":[{"name":"m:latest","context_length":999999999}]}`, want: 131072},
		"it goes on when the server does not say":   {ps: `nonsense`, want: 32768},
		"it goes on when the model is not loaded":   {ps: `{"models":[]}`, want: 32768},
		"it goes on when an old server has no size": {ps: `{"models":[{"name":"m:latest"}]}`, want: 32768},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			s.show, s.ps = limited(131072), c.ps
			c.cfg.BaseURL = s.URL
			p, _ := client(t, c.cfg)
			for i := range 2 {
				if _, _, err := send(t.Context(), p, call(t, "m", prompt(5))); err != nil {
					t.Fatal(err)
				}
				if got := s.sent(t, i).Options.NumCtx; got != c.want {
					t.Errorf("num_ctx is %d, want %d", got, c.want)
				}
			}
		})
	}
}

// TestServerCutsAllTheSame: a server that is older than truncate: false drops messages in silence; its count of the prompt
// tells, and the answer's notes say so.
func TestServerCutsAllTheSame(t *testing.T) {
	turn := func(words int) string {
		return `{"role":"user","content":"` + strings.Repeat("word ", words) + `"},{"role":"assistant","content":"ok"},`
	}
	ask := func(stream bool, turns string) string {
		return fmt.Sprintf(`{"max_tokens":9,"stream":%t,"messages":[%s{"role":"user","content":"Go on."}]}`, stream, turns)
	}
	s := serve(t)
	s.show = limited(131072)
	counted := 0
	s.chat = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		fmt.Fprintf(w, `{"message":{"role":"assistant","content":"ok"},"done":true,"done_reason":"stop","prompt_eval_count":%d,"eval_count":1}`+"\n", counted)
	}
	c, log := client(t, config.Provider{BaseURL: s.URL})
	for i, x := range []struct {
		stream         bool
		words, counted int
		cut            bool
	}{
		{false, 3000, 3100, false}, // all of it: the template gives every message to the model
		{false, 5000, 4096, true},
		{true, 5000, 4096, true},
		{false, 5000, 5100, false},
		{true, 5000, 12, false}, // what was new to its cache alone
	} {
		counted = x.counted
		_, reply, err := send(t.Context(), c, call(t, "m", ask(x.stream, turn(x.words))))
		if err != nil {
			t.Fatal(err)
		}
		notes := reply.Notes
		if x.stream {
			notes = reply.NotesFunc()
		}
		if got := slices.Contains(notes.Fields(), "messages"); got != x.cut {
			t.Errorf("answer %d: notes are %v", i, notes)
		}
	}
	if n := len(log.AllEntries()); n != 2 {
		t.Errorf("%d warnings, want 2", n)
	}
}
