package ollama

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/internal/wire/ollamachat"
)

func TestAnswersWithoutShow(t *testing.T) {
	s := serve(t) // /api/show is a 404
	c, _ := client(t, config.Provider{BaseURL: s.URL + "/"})
	for range 3 {
		m, _, err := send(t.Context(), c, call(t, "m", `{"max_tokens":9,"thinking":{"type":"adaptive"},"messages":[{"role":"user","content":"Hi"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		if m.said() != "ok" || m.Model != "ollama/m" {
			t.Errorf("answer is %+v", m)
		}
	}
	if s.shows != 1 {
		t.Errorf("a failure is asked for %d times in a row", s.shows)
	}
	if think := s.sent(t, 0).Think; think != true {
		t.Errorf("think is %v, though the caller asked for thinking and nothing speaks against it", think)
	}
}

func TestAsksOnceForManyCallers(t *testing.T) {
	s := serve(t)
	arrived, release := make(chan struct{}, 64), make(chan struct{})
	s.show = func(w http.ResponseWriter, model string) {
		arrived <- struct{}{}
		<-release
		limited(8192)(w, model)
	}
	c, _ := client(t, config.Provider{BaseURL: s.URL})
	var wg sync.WaitGroup
	for i := range 20 {
		model := "m"
		if i%2 == 0 {
			model = "m:latest" // the same model
		}
		wg.Go(func() {
			if _, _, err := send(t.Context(), c, call(t, model, prompt(3))); err != nil {
				t.Error(err)
			}
		})
	}
	<-arrived
	close(release)
	wg.Wait()
	if s.shows != 1 {
		t.Errorf("asked %d times", s.shows)
	}
}

func TestCallerLeavesWhileItAsks(t *testing.T) {
	s := serve(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	s.show = func(w http.ResponseWriter, model string) {
		close(arrived)
		<-release
		limited(8192)(w, model)
	}
	c, _ := client(t, config.Provider{BaseURL: s.URL})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, _, err := send(ctx, c, call(t, "m", prompt(3)))
		done <- err
	}()
	<-arrived
	cancel()
	if err := <-done; kindOf(err) != fault.Canceled {
		t.Errorf("a caller who left gets %v", err)
	}
	close(release)
	// The question was asked to its end, and its answer serves the next.
	if _, _, err := send(t.Context(), c, call(t, "m", prompt(3))); err != nil {
		t.Fatal(err)
	}
	if s.shows != 1 || s.chats() != 1 {
		t.Errorf("%d questions, %d chats; want 1 and 1", s.shows, s.chats())
	}
}

func TestCardsGrowOldAndSurviveFailure(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	asked, fail := 0, false
	c := cards{known: map[string]*entry{}, now: func() time.Time { return now }, fetch: func(context.Context, string) (card, error) {
		asked++
		if fail {
			return card{}, fault.New(fault.Upstream, "no")
		}
		return card{known: true, limit: asked}, nil
	}}
	get := func() (card, error) { return c.get(t.Context(), "m") }
	first, _ := get()
	now = now.Add(cardAge - time.Second)
	if second, _ := get(); second != first || asked != 1 {
		t.Errorf("asked %d times within %v", asked, cardAge)
	}
	now = now.Add(2 * time.Second)
	fail = true
	old, err := get()
	if err == nil || old != first {
		t.Errorf("a failure gives %+v and %v, want what was known before", old, err)
	}
	fail = false
	now = now.Add(failAge + time.Second)
	if third, err := get(); err != nil || third.limit != 3 {
		t.Errorf("after the failure: %+v, %v", third, err)
	}
	for i := range 3 * cardLimit {
		_, _ = c.get(t.Context(), "stranger"+strings.Repeat("x", i%7)+time.Duration(i).String())
	}
	if len(c.known) > cardLimit {
		t.Errorf("%d strangers' names are kept", len(c.known))
	}
}

func TestReadCard(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want card
	}{
		"it reads a thinking model":          {`{"details":{"family":"qwen3"},"model_info":{"general.architecture":"qwen3","qwen3.context_length":40960},"capabilities":["completion","tools","thinking","vision"]}`, card{known: true, limit: 40960, thinking: ollamachat.Yes, vision: ollamachat.Yes}},
		"it knows what is not there":         {`{"model_info":{"general.architecture":"a","a.context_length":1,"clip.context_length":9},"capabilities":["completion"]}`, card{known: true, limit: 1, thinking: ollamachat.No, vision: ollamachat.No}},
		"it knows nothing of an old server":  {`{"details":{"family":"llama"},"parameters":"num_ctx  8192\nstop \"<|x|>\""}`, card{known: true, limit: 8192}},
		"it knows the family with levels":    {`{"details":{"family":"gptoss"},"capabilities":["thinking"]}`, card{known: true, thinking: ollamachat.Yes, vision: ollamachat.No, levels: true}},
		"it takes the only length there is":  {`{"model_info":{"x.context_length":77}}`, card{known: true, limit: 77}},
		"it believes no senseless length":    {`{"model_info":{"general.architecture":"x","x.context_length":-5},"parameters":"num_ctx -1"}`, card{known: true}},
		"it survives wrong types everywhere": {`{"details":[],"model_info":"x","capabilities":"thinking","parameters":7}`, card{known: true}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readCard([]byte(c.body))
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
	for _, body := range []string{"", "404", "{", "<html>"} {
		if _, err := readCard([]byte(body)); err == nil {
			t.Errorf("%q is taken for a card", body)
		}
	}
}

func TestNotRunning(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	c, _ := client(t, config.Provider{BaseURL: gone.URL})
	_, _, err := send(t.Context(), c, call(t, "m", prompt(3)))
	f := fault.From(err)
	if f.Kind != fault.Unreachable || !f.Void || !strings.Contains(f.Message, "is not running at "+gone.URL+"; start it with: ollama serve") {
		t.Errorf("got %v (void %t)", err, f.Void)
	}
	if _, err := c.Models(t.Context()); kindOf(err) != fault.Unreachable {
		t.Errorf("the model list gives %v", err)
	}
	if err := c.Ping(t.Context()); kindOf(err) != fault.Unreachable {
		t.Errorf("the ping gives %v", err)
	}
}

func TestMissingModel(t *testing.T) {
	s := serve(t)
	s.chat = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":"model 'codellama' not found"}`)
	}
	c, _ := client(t, config.Provider{BaseURL: s.URL, Name: "lab"})
	_, _, err := send(t.Context(), c, call(t, "codellama", prompt(3)))
	f := fault.From(err)
	if f.Kind != fault.NotFound || f.Provider != "lab" || !strings.HasPrefix(f.Message, `model "codellama" is not pulled; run: ollama pull codellama`) {
		t.Errorf("got %v", err)
	}
}

func TestModelsPingAndKey(t *testing.T) {
	s := serve(t)
	c, _ := client(t, config.Provider{BaseURL: s.URL, APIKey: config.NewSecret("cloud-key"), Headers: map[string]string{"X-Team": "blue"}})
	models, err := c.Models(t.Context())
	if err != nil || len(models) != 2 {
		t.Fatalf("models: %+v, %v", models, err)
	}
	if m := models[0]; m.ID != "a:latest" || m.Window != 4096 || m.Created != 1795388333 {
		t.Errorf("first model: %+v", m)
	}
	if models[1].ID != "b:7b" {
		t.Errorf("a model without the member model goes by its name: %+v", models[1])
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
	if _, _, err := send(t.Context(), c, call(t, "a", prompt(1))); err != nil {
		t.Fatal(err)
	}
	for _, h := range s.headers {
		if h.Get("Authorization") != "Bearer cloud-key" || h.Get("X-Team") != "blue" {
			t.Errorf("headers are %v", h)
		}
	}
}

func TestStreamErrorBeforeAndAfterTheCommit(t *testing.T) {
	s := serve(t)
	lines := ""
	s.chat = func(w http.ResponseWriter, _ *http.Request, _ []byte) { _, _ = io.WriteString(w, lines) }
	c, _ := client(t, config.Provider{BaseURL: s.URL})
	body := `{"max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hi"}]}`

	lines = `{"message":{"role":"assistant","content":""},"done":false}` + "\n" + `{"error":"boom"}` + "\n"
	if _, err := c.Send(t.Context(), call(t, "m", body)); kindOf(err) != fault.Upstream || !strings.Contains(err.Error(), "boom") {
		t.Errorf("before anything was said Send itself must fail, got %v", err)
	}
	lines = `{"message":{"role":"assistant","content":"Part"},"done":false}` + "\n" + `{"error":"boom"}` + "\n"
	m, _, err := send(t.Context(), c, call(t, "m", body))
	if kindOf(err) != fault.Upstream || m == nil || m.said() != "Part" {
		t.Errorf("after the commit: %+v, %v", m, err)
	}
	lines = `{"message":{"role":"assistant","content":"Part"},"done":false}` + "\n"
	if _, _, err = send(t.Context(), c, call(t, "m", body)); kindOf(err) != fault.Upstream {
		t.Errorf("a cut stream gives %v", err)
	}
}

// The first delta reaches the caller while the server is still working, and a caller who leaves stops the server.
func TestStreamsAtOnceAndStopsTheServer(t *testing.T) {
	s := serve(t)
	left := make(chan struct{})
	s.chat = func(w http.ResponseWriter, r *http.Request, _ []byte) {
		_, _ = io.WriteString(w, `{"message":{"role":"assistant","content":"first"},"done":false}`+"\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(left)
	}
	c, _ := client(t, config.Provider{BaseURL: s.URL})
	reply, err := c.Send(t.Context(), call(t, "m", `{"max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hi"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Close()
	for f, err := range reply.Frames {
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(f.Data), "first") {
			break
		}
	}
	select {
	case <-left:
	case <-time.After(5 * time.Second):
		t.Fatal("the server was not told that the caller left")
	}
}

func TestBadBaseURL(t *testing.T) {
	_, err := New(config.Provider{Name: "lab", BaseURL: "gpu-box:11434"}, c0)
	var f *fault.Error
	if !errors.As(err, &f) || !strings.Contains(f.Message, "providers.lab.base_url") {
		t.Errorf("got %v", err)
	}
}

// TestSendsWithoutWhatTheServerRefuses: what a server says it cannot do beside the question is left out, once, and noted.
func TestSendsWithoutWhatTheServerRefuses(t *testing.T) {
	const ask = `{"max_tokens":9,"thinking":{"type":"adaptive"},"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"tool","name":"f"},"messages":[{"role":"user","content":"Hi"}]}`
	const both = `{"max_tokens":9,"thinking":{"type":"adaptive"},"tools":[{"name":"f","input_schema":{"type":"object"}}],"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"n":{}}}}},"messages":[{"role":"user","content":"Hi"}]}`
	for name, x := range map[string]struct {
		ask      string
		refusals []string
		dropped  string
		status   int
		chats    int
		fails    bool
	}{
		"it thinks no more":                       {refusals: []string{`{"error":"\"m\" does not support thinking"}`}, status: 400, dropped: "thinking", chats: 2},
		"it thinks no more, whatever the status":  {refusals: []string{`{"error":"\"m\" does not support thinking"}`}, status: 500, dropped: "thinking", chats: 2},
		"it reads that in a 200, too":             {refusals: []string{`{"error":"\"m\" does not support thinking"}`}, status: 200, dropped: "thinking", chats: 2},
		"it forces no more":                       {refusals: []string{`{"error":"invalid JSON schema in format"}`}, status: 500, dropped: "tool_choice", chats: 2},
		"it leaves both out":                      {refusals: []string{`{"error":"\"m\" does not support thinking"}`, `{"error":"invalid JSON schema in format"}`}, status: 400, dropped: "thinking tool_choice", chats: 3},
		"it asks only once more":                  {refusals: []string{`{"error":"\"m\" does not support thinking"}`, `{"error":"\"m\" does not support thinking"}`}, status: 400, chats: 2, fails: true},
		"it lets no call stand beside a format":   {ask: both, refusals: []string{`{"error":"invalid JSON schema in format"}`}, status: 500, chats: 2},
		"it gives up on a format without grammar": {ask: both, refusals: []string{`{"error":"invalid JSON schema in format"}`, `{"error":"invalid JSON schema in format"}`}, status: 500, chats: 2, fails: true},
		"it gives up on all else":                 {refusals: []string{`{"error":"\"m\" does not support tools"}`}, status: 400, chats: 1, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			n := 0
			s.chat = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
				if n++; n <= len(x.refusals) {
					w.WriteHeader(x.status)
					_, _ = io.WriteString(w, x.refusals[n-1])
					return
				}
				_, _ = io.WriteString(w, ok)
			}
			c, _ := client(t, config.Provider{BaseURL: s.URL})
			_, reply, err := send(t.Context(), c, call(t, "m", cmp.Or(x.ask, ask)))
			if n != x.chats || (err != nil) != x.fails {
				t.Fatalf("%d chats, error %v", n, err)
			}
			if err == nil {
				got := reply.Notes.Fields()
				for _, field := range strings.Fields(x.dropped) {
					if !slices.Contains(got, field) {
						t.Errorf("dropped: %v, want %s", got, x.dropped)
					}
				}
			}
		})
	}
}

// A call that is written as text is held back until it is whole. The server is not silent meanwhile: the idle clock runs only
// while nothing at all is said.
func TestHeldCallIsNoSilence(t *testing.T) {
	// All pieces together take longer than the clock, each alone a small part of it: a busy machine must not look like silence.
	const idle = 2 * time.Second
	slowly := func(pieces ...string) func(http.ResponseWriter, *http.Request, []byte) {
		return func(w http.ResponseWriter, r *http.Request, _ []byte) {
			tick := time.NewTicker(idle / 10)
			defer tick.Stop()
			for _, p := range pieces {
				fmt.Fprintf(w, `{"message":{"role":"assistant","content":%q},"done":false}`+"\n", p)
				w.(http.Flusher).Flush()
				select {
				case <-tick.C:
				case <-r.Context().Done():
					return
				}
			}
			_, _ = io.WriteString(w, `{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}`+"\n")
		}
	}
	letters := strings.Split(`abcdefghijkl`, "")
	for name, c := range map[string]struct {
		choice string
		pieces []string
	}{
		"a call that must be made": {`,"tool_choice":{"type":"any"}`, append(append([]string{`{"city":"`}, letters...), `"}`)},
		"a call that was written":  {``, append(append([]string{`<tool_call>{"name":"get_weather","arguments":{"city":"`}, letters...), `"}}</tool_call>`)},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			s.show = limited(131072)
			s.chat = slowly(c.pieces...)
			p, _ := client(t, config.Provider{BaseURL: s.URL, Timeouts: config.Timeouts{Idle: config.Duration(idle)}})
			m, _, err := send(t.Context(), p, call(t, "m", `{"max_tokens":99,"stream":true,`+weather+c.choice+`,"messages":[{"role":"user","content":"hi"}]}`))
			if err != nil {
				t.Fatal(err)
			}
			if m.Content[0].Name != "get_weather" || !strings.Contains(string(m.Content[0].Input), "abcdefghijkl") {
				t.Errorf("answer is %+v", m)
			}
		})
	}
	t.Run("silence", func(t *testing.T) {
		s := serve(t)
		s.show = limited(131072)
		s.chat = func(w http.ResponseWriter, r *http.Request, _ []byte) {
			_, _ = io.WriteString(w, `{"message":{"role":"assistant","content":"{\"city\":\""},"done":false}`+"\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
		p, _ := client(t, config.Provider{BaseURL: s.URL, Timeouts: config.Timeouts{Idle: config.Duration(idle)}})
		_, _, err := send(t.Context(), p, call(t, "m", `{"max_tokens":99,"stream":true,`+weather+`,"tool_choice":{"type":"any"},"messages":[{"role":"user","content":"hi"}]}`))
		if f := fault.From(err); err == nil || f.Outcome != "midstream_timeout" {
			t.Errorf("got %v", err)
		}
	})
}

// A tool that must be called and is not: a streamed answer says so in its head, since its first word shows it.
func TestFreeAnswerIsToldInTheHead(t *testing.T) {
	s := serve(t)
	s.show = limited(131072)
	c, _ := client(t, config.Provider{BaseURL: s.URL})
	for answer, want := range map[string][]string{
		`{"message":{"role":"assistant","content":" ok"},"done":false}`:                                                                             {"tool_choice"},
		`{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"get_weather","arguments":{"city":"Oslo"}}}]},"done":false}`: nil,
		`{"message":{"role":"assistant","content":"{\"city\":\"Oslo\"}"},"done":false}`:                                                             nil,
	} {
		s.chat = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			_, _ = io.WriteString(w, answer+"\n"+`{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}`+"\n")
		}
		reply, err := c.Send(t.Context(), call(t, "m", `{"max_tokens":99,"stream":true,`+weather+`,"tool_choice":{"type":"any"},"messages":[{"role":"user","content":"hi"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := reply.Notes.Fields(); !slices.Equal(got, want) {
			t.Errorf("%s: the head says %v, want %v", answer, got, want)
		}
		reply.Close()
	}
}

// Whoever looks for a fault hears what holds now, and not what was remembered.
func TestDescribe(t *testing.T) {
	s := serve(t)
	s.show, s.ps = limited(40960), `{"models":[{"name":"m:latest","model":"m:latest","context_length":4096}]}`
	c, _ := client(t, config.Provider{BaseURL: s.URL})
	for _, limit := range []int{40960, 8192} {
		s.show = limited(limit)
		about, err := c.Describe(t.Context(), "m")
		if err != nil || about.Limit != int64(limit) || about.Loaded != 4096 || !slices.Equal(about.Capabilities, []string{"completion", "tools"}) {
			t.Errorf("%+v, %v", about, err)
		}
	}
	s.show = func(w http.ResponseWriter, _ string) { _, _ = io.WriteString(w, `{}`) }
	if about, err := c.Describe(t.Context(), "other"); err != nil || about.Limit != 0 || about.Loaded != 0 || about.Capabilities != nil {
		t.Errorf("what is not said is unknown: %+v, %v", about, err)
	}
	s.show = nil
	if _, err := c.Describe(t.Context(), "gone"); kindOf(err) != fault.NotFound {
		t.Errorf("a missing model: %v", err)
	}
}
