package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A patient is somebody whose world is examined: a home, a folder, an environment, and a configuration of their own.
type patient struct {
	t    *testing.T
	env  *Env
	out  *bytes.Buffer
	vars map[string]string
	o    doctorOptions
}

// newPatient is in good health: the configuration names nothing but signalbox, and nobody has the port.
func newPatient(t *testing.T) *patient {
	t.Helper()
	vars := map[string]string{"NO_COLOR": "1"}
	env, out := person(t, vars)
	p := &patient{t: t, env: env, out: out, vars: vars}
	p.configured("providers: {}\n")
	return p
}

// configured writes the configuration, on a port that nobody has.
func (p *patient) configured(yaml string) *patient {
	p.t.Helper()
	if !strings.Contains(yaml, "listen:") {
		yaml = fmt.Sprintf("listen: 127.0.0.1:%d\n", closedPort(p.t)) + yaml
	}
	p.o.file = p.file(p.env.Home, "signalbox.conf.yaml", yaml)
	return p
}

// file writes a file with mode 0600 and gives its path.
func (p *patient) file(dir, name, text string) string {
	p.t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// look carries out one check.
func (p *patient) look(c func(context.Context, *examination) []finding) []finding {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	return c(ctx, newExamination(p.env, p.o))
}

// diagnosed holds findings to what is wanted, one after the other: "severity | words of what | words of fix".
func diagnosed(t *testing.T, found []finding, want ...string) {
	t.Helper()
	if len(found) != len(want) {
		t.Fatalf("%d findings, want %d:\n%s", len(found), len(want), listed(found))
	}
	for i, w := range want {
		parts := strings.Split(w+" |  | ", " | ")
		f := found[i]
		if f.Severity.String() != parts[0] || !strings.Contains(f.What, strings.TrimSpace(parts[1])) || !strings.Contains(f.Fix, strings.TrimSpace(parts[2])) {
			t.Errorf("got  %s\nwant %s", listed(found[i:i+1]), w)
		}
		if f.Severity != fine && (f.Why == "" || f.Fix == "") {
			t.Errorf("a finding without a reason or a fix: %s", listed(found[i:i+1]))
		}
	}
}

func listed(found []finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s | %s | %s (why: %s; %s:%d)\n", f.Severity, f.What, f.Fix, f.Why, f.File, f.Line)
	}
	return b.String()
}

// closedPort is a port that nobody has.
func closedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// ollamaOf is a scripted Ollama with models by name; a model is the answer of /api/show.
func ollamaOf(t *testing.T, ps string, models map[string]string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/version":
			fmt.Fprint(w, `{"version":"0.17.4"}`)
		case "/api/tags":
			var list []string
			for _, name := range sortedKeys(models) {
				list = append(list, fmt.Sprintf(`{"name":%q,"model":%q}`, name, name))
			}
			fmt.Fprintf(w, `{"models":[%s]}`, strings.Join(list, ","))
		case "/api/ps":
			fmt.Fprint(w, ps)
		case "/api/show":
			var asked struct{ Model string }
			_ = json.NewDecoder(r.Body).Decode(&asked)
			if text, ok := models[withTag(asked.Model)]; ok {
				fmt.Fprint(w, text)
				return
			}
			http.Error(w, `{"error":"model not found"}`, http.StatusNotFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// showOf is an answer of /api/show.
func showOf(limit int, capabilities string) string {
	return fmt.Sprintf(`{"details":{"family":"q"},"model_info":{"general.architecture":"q","q.context_length":%d},"capabilities":%s}`, limit, capabilities)
}

func TestDoctorConfiguration(t *testing.T) {
	p := newPatient(t)
	diagnosed(t, p.look(checkConfiguration), "ok | read from ~/signalbox.conf.yaml")
	for _, row := range []struct {
		it, yaml, fix string
		line          int
	}{
		{"says what was meant", "providers:\n  ollama: {base_ulr: http://x}\n", "in line 3 of FILE write base_url instead of base_ulr", 3},
		{"says which variable to set", "providers:\n  openrouter: {api_key: \"env:NO_SUCH_KEY\"}\n", "export NO_SUCH_KEY=…", 3},
		{"says how a key is given", "providers:\n  openrouter: {}\n", `write api_key: "env:OPENROUTER_API_KEY" below providers.openrouter, and: export OPENROUTER_API_KEY=…`, 3},
		{"says what is for later", "budgets: []\n", "take budgets out of line 2 of FILE", 2},
		{"says where a loop is written", "providers:\n  lab: {kind: ollama, base_url: \"http://localhost:LISTEN\"}\n", "correct base_url in line 3 of FILE", 3},
		{"names the line of what is no YAML", "providers: [\n", "correct line", 0},
	} {
		t.Run(row.it, func(t *testing.T) {
			p := newPatient(t)
			port := closedPort(t)
			p.configured(fmt.Sprintf("listen: 127.0.0.1:%d\n", port) + strings.ReplaceAll(row.yaml, "LISTEN", strconv.Itoa(port)))
			found := p.look(checkConfiguration)
			diagnosed(t, found, "error | "+p.o.file+" | "+strings.ReplaceAll(row.fix, "FILE", p.o.file))
			if found[0].File != p.o.file || row.line > 0 && found[0].Line != row.line {
				t.Errorf("it is said to be at %s:%d", found[0].File, found[0].Line)
			}
		})
	}
	t.Run("says how a file with a key is closed", func(t *testing.T) {
		p := newPatient(t).configured("providers:\n  openrouter: {api_key: sk-or-secret-1}\n")
		if err := os.Chmod(p.o.file, 0o644); err != nil {
			t.Fatal(err)
		}
		diagnosed(t, p.look(checkConfiguration), "error | can read | chmod 600 "+p.o.file)
	})
	t.Run("says which variable makes a loop", func(t *testing.T) {
		p := newPatient(t)
		p.o.file = ""
		p.vars["ANTHROPIC_API_KEY"], p.vars["ANTHROPIC_BASE_URL"] = "sk-ant-secret-1", "http://127.0.0.1:3456"
		diagnosed(t, p.look(checkConfiguration), "error | points at this gateway itself | unset ANTHROPIC_BASE_URL")
	})
	t.Run("says what this build does not know", func(t *testing.T) {
		p := newPatient(t).configured("providers:\n  x: {kind: openai, profile: nonsense, base_url: \"http://127.0.0.1:9\"}\n")
		diagnosed(t, p.look(checkConfiguration), "error | providers.x.profile | correct it")
	})
	t.Run("tells of what was not taken", func(t *testing.T) {
		p := newPatient(t)
		path := p.file(p.env.Dir, "signalbox.yaml", "providers: {x: {kind: ollama}}\n")
		found := p.look(checkConfiguration)
		diagnosed(t, found, "ok | read from", "warning | providers is not taken from this file | take line 1 out of "+path)
		if found[1].File != path || found[1].Line != 1 {
			t.Errorf("%+v", found[1])
		}
	})
	t.Run("warns of TLS that is not checked", func(t *testing.T) {
		p := newPatient(t).configured("providers:\n  x: {kind: ollama, base_url: \"https://127.0.0.1:9\", insecure_skip_verify: true}\n")
		diagnosed(t, p.look(checkConfiguration), "ok | read", "warning | insecure_skip_verify | take insecure_skip_verify out of providers.x")
	})
}

func TestDoctorEntries(t *testing.T) {
	p := newPatient(t)
	diagnosed(t, p.look(checkEntries))
	path := p.file(p.env.Dir, "signalbox.yaml", "agents:\n  a: signalbox/echo\n  b: nobody/x\n")
	found := p.look(checkEntries)
	diagnosed(t, found, `error | agents.b names nobody/x, and no provider is named nobody | nobody: {api_key: "env:NOBODY_API_KEY"}`)
	if found[0].File != path || found[0].Line != 3 {
		t.Errorf("it is said to be at %s:%d", found[0].File, found[0].Line)
	}
	p.o.file, p.vars["OLLAMA_HOST"] = "", "127.0.0.1:9"
	diagnosed(t, p.look(checkEntries), "error | agents.b | export NOBODY_API_KEY=…")
}

func TestDoctorOllama(t *testing.T) {
	url := ollamaOf(t, `{}`, map[string]string{"a:latest": "{}"})
	p := newPatient(t).configured("providers: {lab: {kind: ollama, base_url: \"" + url + "\"}}\n")
	diagnosed(t, p.look(checkOllama), "ok | lab answers at "+url+" (providers.lab), 1 model pulled")
	p.configured("providers: {lab: {kind: ollama, base_url: \"http://127.0.0.1:9\"}}\n")
	diagnosed(t, p.look(checkOllama), "error | lab does not answer at http://127.0.0.1:9 (providers.lab) | install it (https://ollama.com/download), then: ollama serve")
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "ollama"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	p.vars["PATH"] = bin
	diagnosed(t, p.look(checkOllama), "error | lab | OLLAMA_HOST=127.0.0.1:9 ollama serve")
	p.configured("providers: {lab: {kind: ollama, base_url: \"http://nobody.invalid.\", allow_http: true}}\n")
	diagnosed(t, p.look(checkOllama), "error | lab does not answer | on nobody.invalid.: OLLAMA_HOST=0.0.0.0 ollama serve")
	// One that was only looked for is no error, unless something names it.
	p.o.file, p.vars["OLLAMA_HOST"] = "", "127.0.0.1:9"
	diagnosed(t, p.look(checkOllama), "warning | ollama does not answer at http://127.0.0.1:9 (from OLLAMA_HOST) | ollama serve")
	p.file(p.env.Home, ".oss/config.json", `{"models":{"agents":{"oss:code-reviewer":"ollama/codellama"}}}`)
	diagnosed(t, p.look(checkOllama), "error | from OLLAMA_HOST | ollama serve")
	// Something else answers there.
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	p.vars["OLLAMA_HOST"] = other.URL
	diagnosed(t, p.look(checkOllama), "error | does not answer at "+other.URL+" | ")
}

func TestDoctorPulled(t *testing.T) {
	url := ollamaOf(t, `{}`, map[string]string{"qwen3:8b": "{}", "codellama:latest": "{}"})
	lab := "providers: {lab: {kind: ollama, base_url: \"" + url + "\"}}\n"
	p := newPatient(t).configured(lab + "default: lab/qwen3:8b\nagents: {\"oss:code-reviewer\": lab/codellama}\n")
	diagnosed(t, p.look(checkPulled), "ok | all configured models are pulled (2)")
	p.configured(lab + "default: lab/qwen3:32b\nagents: {a: lab/none, b: {target: lab/codellama, fallbacks: [lab/none]}}\naliases: {x: lab/none}\n")
	diagnosed(t, p.look(checkPulled), "error | lab/qwen3:32b is not pulled (default) | OLLAMA_HOST="+url+" ollama pull qwen3:32b   (there is qwen3:8b",
		"error | lab/none is not pulled (agents.a, agents.b.fallbacks, aliases.x) | ollama pull none")
	p.configured("providers: {lab: {kind: ollama, base_url: \"http://127.0.0.1:9\"}}\ndefault: lab/x\n")
	diagnosed(t, p.look(checkPulled)) // checkOllama says enough
}

func TestDoctorWindows(t *testing.T) {
	url := ollamaOf(t, `{"models":[{"name":"small:latest","context_length":4096},{"name":"big:latest","context_length":4096}]}`, map[string]string{
		"big:latest": showOf(262144, `["completion","tools"]`), "middle:latest": showOf(32768, `["completion"]`), "small:latest": showOf(8192, `["completion"]`),
		"mute:latest": `{}`, "roomy:latest": showOf(131072, `["completion"]`),
	})
	lab := func(more string) string {
		return "providers: {lab: {kind: ollama, base_url: \"" + url + "\"" + more + "}}\n"
	}
	for _, row := range []struct{ it, more, model, want string }{
		{"is content with a large one", "", "roomy", "ok | can take 131072 tokens (the model's limit is 131072, num_ctx is auto)"},
		{"tells of one that somebody loads small", "", "big", "warning | loaded with 4096 now | ollama stop big"},
		{"doubts a middling one", "", "middle", "warning | can take 32768 tokens | take a model with a larger window"},
		{"refuses a small one", "", "small", "error | can take 8192 tokens (the model's limit is 8192, num_ctx is auto, loaded with 4096 now) | take a model"},
		{"knows num_ctx", ", num_ctx: 8192", "roomy", "error | can take 8192 tokens (the model's limit is 131072, num_ctx is 8192) | write num_ctx: auto in place of num_ctx: 8192 below providers.lab"},
		{"knows max_num_ctx", ", max_num_ctx: 20000", "roomy", "warning | num_ctx is auto up to 20000 | write max_num_ctx: 65536 in place of 20000 below providers.lab"},
		{"says nothing where nobody does", "", "mute", ""},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			want := []string{row.want}
			if row.want == "" {
				want = nil
			}
			diagnosed(t, newPatient(t).configured(lab(row.more)+"default: lab/"+row.model+"\n").look(checkWindows), want...)
		})
	}
	t.Run("it leaves an alias for something small alone", func(t *testing.T) {
		diagnosed(t, newPatient(t).configured(lab("")+"aliases: {tiny: lab/small}\n").look(checkWindows), "warning | lab/small can take 8192 | aliases.tiny")
	})
}

func TestDoctorTools(t *testing.T) {
	url := ollamaOf(t, `{}`, map[string]string{"able:latest": showOf(1, `["completion","tools"]`), "codellama:latest": showOf(1, `["completion"]`), "old:latest": `{}`})
	lab := "providers: {lab: {kind: ollama, base_url: \"" + url + "\"}}\n"
	p := newPatient(t).configured(lab + "default: lab/codellama\nagents: {a: lab/able, b: lab/old}\n")
	diagnosed(t, p.look(checkTools), "warning | lab/codellama cannot call tools (default); the server says it can: completion | ollama pull gpt-oss:20b, and write lab/gpt-oss:20b for default", "ok | lab/able can call tools")
	p.configured(lab + "agents: {\"oss:code-reviewer\": lab/codellama}\n")
	diagnosed(t, p.look(checkTools), "error | cannot call tools (agents.oss:code-reviewer) | ")
}

func TestDoctorKeys(t *testing.T) {
	const key = "sk-secret-0123456789"
	var mu sync.Mutex // providers are asked side by side
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.Path)
		mu.Unlock()
		switch r.Header.Get("Authorization") {
		case "Bearer " + key:
			fmt.Fprint(w, `{"data":[]}`)
		default:
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":{"message":"no such key: %s"}}`, r.Header.Get("Authorization"))
		}
	}))
	defer s.Close()
	p := newPatient(t)
	p.vars["GOOD"], p.vars["BAD"] = key, key+"-bad"
	p.configured(fmt.Sprintf("providers:\n  anthropic: {kind: anthropic}\n  bad: {kind: openai, base_url: %q, api_key: \"env:BAD\"}\n  openrouter: {base_url: %q, api_key: \"env:GOOD\"}\n  vllm: {kind: openai, base_url: \"http://127.0.0.1:9\"}\n", s.URL, s.URL))
	diagnosed(t, p.look(checkKeys), "ok | anthropic has no key of its own and passes the caller's on", "ok | bad has a key (providers.bad.api_key); whether it is accepted: signalbox doctor --live", "ok | openrouter has a key", "ok | vllm needs no key")
	seen := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(asked)
	}
	if asked := seen(); len(asked) != 0 {
		t.Errorf("without --live nobody is asked: %v", asked)
	}
	p.o.live = true
	found := p.look(checkKeys)
	diagnosed(t, found, "ok | anthropic", "error | bad refuses its key (providers.bad.api_key) | make a new one and write it where providers.bad.api_key points", "ok | openrouter accepts its key", "error | vllm does not answer as it should | base_url of providers.vllm")
	if asked := seen(); !slices.Contains(asked, "/key") {
		t.Errorf("OpenRouter's own question was not asked: %v", asked)
	}
	if text := listed(found); strings.Contains(text, "sk-secret") {
		t.Errorf("a key was printed: %s", text)
	}
	p.o.file = ""
	p.vars["OLLAMA_HOST"], p.vars["OPENROUTER_API_KEY"], p.vars["OPENROUTER_BASE_URL"] = "127.0.0.1:9", "sk-other", s.URL
	diagnosed(t, p.look(checkKeys), "error | openrouter refuses its key (OPENROUTER_API_KEY) | https://openrouter.ai/keys, then: export OPENROUTER_API_KEY=…")
}

func TestDoctorClaude(t *testing.T) {
	p := newPatient(t).configured("default: signalbox/echo\n")
	diagnosed(t, p.look(checkClaude))
	p.configured("agents: {a: claude}\nclaude_model: claude-sonnet-4-5\n")
	diagnosed(t, p.look(checkClaude), "ok | the target claude (agents.a) is claude-sonnet-4-5, with the caller's own Claude credential")
	p.vars["ANTHROPIC_AUTH_TOKEN"] = "signalbox"
	diagnosed(t, p.look(checkClaude), "warning | ANTHROPIC_AUTH_TOKEN of this shell is none of Anthropic's | unset ANTHROPIC_AUTH_TOKEN")
	p.vars["MINE"] = "sk-ant-secret"
	p.configured("providers: {anthropic: {api_key: \"env:MINE\"}, signalbox: {kind: signalbox}}\nfallbacks: {\"signalbox/*\": [claude]}\n")
	diagnosed(t, p.look(checkClaude), "warning | the target claude (fallbacks.signalbox/*) has no model | claude_model: claude-sonnet-4-5")
	p.configured("providers: {anthropic: {api_key: \"env:MINE\"}, signalbox: {kind: signalbox}}\nfallbacks: {\"signalbox/*\": [claude]}\nclaude_model: claude-x\n")
	diagnosed(t, p.look(checkClaude), "ok | with the gateway's key")
}

func TestDoctorPrices(t *testing.T) {
	p := newPatient(t)
	p.vars["KEY"] = "k"
	base := "providers:\n  openrouter: {api_key: \"env:KEY\"}\n  anthropic: {api_key: \"env:KEY\"}\n  ollama: {}\n  lab: {kind: openai, base_url: \"http://127.0.0.1:9\"}\n"
	p.configured(base + "default: anthropic/claude-sonnet-4-5\nagents: {a: ollama/x, b: openrouter/who/knows, c: lab/m}\n")
	diagnosed(t, p.look(checkPrices), `warning | no price is known for lab/m (agents.c) | prices: {"lab/m": {input: 0.15, output: 0.6}}`)
	p.configured(base + "default: anthropic/claude-sonnet-4-5\nagents: {a: ollama/x, c: lab/m}\nprices: {\"lab/*\": {input: 0, output: 0}}\n")
	diagnosed(t, p.look(checkPrices), "ok | the prices of all configured models are known (3)")
}

// gatewayOf answers like a gateway: it names itself, and says of itself what status holds.
func gatewayOf(t *testing.T, pid int, version string, status map[string]any) (url string, port int) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Signalbox-Request-Id", "req_x")
		switch r.URL.Path {
		case "/livez":
			_ = json.NewEncoder(w).Encode(map[string]any{"live": true, "version": version, "pid": pid})
		case "/admin/v1/status":
			_ = json.NewEncoder(w).Encode(status)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, s.Listener.Addr().(*net.TCPAddr).Port
}

func TestDoctorPort(t *testing.T) {
	p := newPatient(t)
	diagnosed(t, p.look(checkPort), "ok | is free; start the gateway with: signalbox start --port")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	p.configured(fmt.Sprintf("listen: 127.0.0.1:%d\n", port))
	found := p.look(checkPort)
	diagnosed(t, found, fmt.Sprintf("error | port %d is in use by | or take another: signalbox start --port %d", port, port+1))
	if procfs() && (!strings.Contains(found[0].What, fmt.Sprintf("(pid %d)", os.Getpid())) || !strings.Contains(found[0].Fix, fmt.Sprintf("kill %d", os.Getpid()))) {
		t.Errorf("it does not name the program: %+v", found[0])
	}
	_, port = gatewayOf(t, 4711, "1.2.3", nil)
	p.configured(fmt.Sprintf("listen: 127.0.0.1:%d\n", port))
	diagnosed(t, p.look(checkPort), "warning | (pid 4711) has another state directory | kill 4711")
	state, _ := p.env.StateDir()
	p.file(state, fmt.Sprintf("proxy-%d.pid", port), fmt.Sprintf(`{"pid":4711,"port":%d,"start_time":1}`, port))
	diagnosed(t, p.look(checkPort), "ok | a gateway runs at http://127.0.0.1")
	// The flag chooses another port than the configuration.
	other := closedPort(t)
	p.o.port = &other
	diagnosed(t, p.look(checkPort), fmt.Sprintf("ok | port %d is free", other))
}

func TestDoctorGateway(t *testing.T) {
	p := newPatient(t)
	diagnosed(t, p.look(checkGateway))
	status := map[string]any{"version": "1.2.3", "model": "", "sources": []string{p.o.file}, "draining": false, "ledger": "ok"}
	with := func(version string, change map[string]any) []finding {
		t.Helper()
		s := map[string]any{}
		for k, v := range status {
			s[k] = v
		}
		for k, v := range change {
			s[k] = v
		}
		_, port := gatewayOf(t, 1, version, s)
		p.configured(fmt.Sprintf("listen: 127.0.0.1:%d\ndefault: signalbox/echo\n", port))
		return p.look(checkGateway)
	}
	mine := map[string]any{"model": "signalbox/echo"}
	diagnosed(t, with("1.2.3", mine), "ok | of this version and this configuration")
	diagnosed(t, with("1.0.0", mine), "warning | the running gateway is version 1.0.0, and this program is 1.2.3 | signalbox stop --port")
	diagnosed(t, with("1.2.3", map[string]any{"model": "signalbox/other"}), "warning | the default of the running gateway is signalbox/other; from here it would be signalbox/echo | signalbox start")
	diagnosed(t, with("1.2.3", map[string]any{"model": "signalbox/echo", "config_error": "c.yaml:3: nonsense"}), "error | could not read its configuration anew: c.yaml:3: nonsense | correct it")
	diagnosed(t, with("1.2.3", map[string]any{"model": "signalbox/echo", "sources": []string{}}), "warning | was configured from no file; from here it would be ~/signalbox.conf.yaml | signalbox start")
	diagnosed(t, with("1.2.3", map[string]any{"model": "signalbox/echo", "draining": true, "ledger": "failing"}), "warning | is shutting down | signalbox start", "error | cannot write its ledger | make room")
}

func TestDoctorLoops(t *testing.T) {
	p := newPatient(t)
	diagnosed(t, p.look(checkLoops), "ok | no provider leads back here")
	url, port := gatewayOf(t, 4711, "1.2.3", nil)
	// Another signalbox.
	p.configured("providers: {lab: {kind: ollama, base_url: \"" + url + "\"}}\n")
	diagnosed(t, p.look(checkLoops), "warning | base_url of providers.lab is "+url+", and another signalbox answers there | write the real upstream")
	// Ourselves, behind an address that does not look like it: a forwarder on another port.
	forward, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer forward.Close()
	go forwarding(forward, strings.TrimPrefix(url, "http://"))
	p.configured(fmt.Sprintf("listen: 127.0.0.1:%d\nproviders: {lab: {kind: ollama, base_url: \"http://%s\"}}\n", port, forward.Addr()))
	diagnosed(t, p.look(checkLoops), "error | and that is this gateway itself | write the real upstream as base_url of providers.lab")
	// Ourselves, by one of this machine's addresses while the gateway listens on all of them.
	if own := ownAddress(); own != "" {
		port := closedPort(t)
		p.configured(fmt.Sprintf("listen: 0.0.0.0:%d\nallow_open: true\nproviders: {lab: {kind: ollama, allow_http: true, base_url: \"http://%s\"}}\n", port, net.JoinHostPort(own, strconv.Itoa(port))))
		diagnosed(t, p.look(checkLoops), "error | and that is this gateway itself | write the real upstream")
	}
	// The variable that agents are pointed here with.
	p.o.file = ""
	p.vars["OLLAMA_HOST"], p.vars["ANTHROPIC_BASE_URL"] = "127.0.0.1:9", "http://localhost:3456"
	diagnosed(t, p.look(checkLoops), "ok | ANTHROPIC_BASE_URL of this shell points at this gateway; a gateway that is started here does not use it for itself")
	p.vars["ANTHROPIC_BASE_URL"] = url
	diagnosed(t, p.look(checkLoops), "warning | ANTHROPIC_BASE_URL is "+url+", and another signalbox answers there")
}

// ownAddress is an address of this machine that is not loopback; empty when it has none.
func ownAddress() string {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return ""
}

// forwarding hands every connection on.
func forwarding(l net.Listener, to string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", to)
		if err != nil {
			_ = in.Close()
			continue
		}
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			go func() {
				buf := make([]byte, 4096)
				for {
					n, err := pair[0].Read(buf)
					_, _ = pair[1].Write(buf[:n])
					if err != nil {
						_ = pair[1].Close()
						return
					}
				}
			}()
		}
	}
}

func TestDoctorSettings(t *testing.T) {
	for _, row := range []struct {
		it    string
		vars  map[string]string
		files map[string]string // ~ is home, else the folder; OURS stands for the gateway's address
		yaml  string
		want  []string
	}{
		{it: "says how agents come here", want: []string{"ok | nothing points Claude Code here yet"}},
		{it: "is content", files: map[string]string{"~/.claude/settings.json": `{"env":{"ANTHROPIC_BASE_URL":"OURS"}}`}, want: []string{"ok | agents of this folder come here (~/.claude/settings.json)"}},
		{it: "takes a path for a target", vars: map[string]string{"ANTHROPIC_BASE_URL": "OURS/v1/signalbox/echo"}, want: []string{"ok | come here (this shell)"}},
		{it: "finds another port", files: map[string]string{"~/.claude/settings.json": `{"env":{"ANTHROPIC_BASE_URL":"http://127.0.0.1:9"}}`},
			want: []string{`warning | ~/.claude/settings.json is http://127.0.0.1:9; the gateway is at | write "ANTHROPIC_BASE_URL": "OURS" in env of ~/.claude/settings.json`}},
		{it: "finds another host, and says no password", vars: map[string]string{"ANTHROPIC_BASE_URL": "https://me:secret@api.example.com/x?key=secret"},
			want: []string{"warning | this shell is https://api.example.com/x; | export ANTHROPIC_BASE_URL=OURS"}},
		{it: "finds what is no address", vars: map[string]string{"ANTHROPIC_BASE_URL": "127.0.0.1:3456"}, want: []string{"error | is no address | export ANTHROPIC_BASE_URL=OURS"}},
		{it: "finds a /v1 too many", vars: map[string]string{"ANTHROPIC_BASE_URL": "OURS/v1/"}, want: []string{"error | ends in /v1 | export ANTHROPIC_BASE_URL=OURS"}},
		{it: "finds a provider that is not there", vars: map[string]string{"ANTHROPIC_BASE_URL": "OURS/v1/nobody/x"}, want: []string{"error | names the provider nobody | name one of anthropic, signalbox"}},
		{it: "finds places that disagree", vars: map[string]string{"ANTHROPIC_BASE_URL": "OURS"}, files: map[string]string{".claude/settings.json": `{"env":{"ANTHROPIC_BASE_URL":"http://127.0.0.1:9"}}`},
			want: []string{"warning | settings.json is http://127.0.0.1:9; the gateway is at", "warning | and OURS in this shell; the first wins | unset ANTHROPIC_BASE_URL"}},
		{it: "lets the project's own file win", files: map[string]string{".claude/settings.local.json": `{"env":{"ANTHROPIC_BASE_URL":"OURS"}}`, ".claude/settings.json": `{"env":{"ANTHROPIC_BASE_URL":"OURS"}}`},
			want: []string{"ok | settings.local.json"}},
		{it: "finds two credentials", vars: map[string]string{"ANTHROPIC_API_KEY": "sk-secret-a"}, files: map[string]string{"~/.claude/settings.json": `{"env":{"ANTHROPIC_AUTH_TOKEN":"sk-secret-b"}}`},
			want: []string{`warning | ANTHROPIC_API_KEY (this shell) and ANTHROPIC_AUTH_TOKEN (~/.claude/settings.json) are both set | take "ANTHROPIC_AUTH_TOKEN" out of env in ~/.claude/settings.json`}},
		{it: "finds a helper", files: map[string]string{"~/.claude/settings.json": `{"apiKeyHelper":"/bin/key"}`}, want: []string{"warning | apiKeyHelper is set in ~/.claude/settings.json | take apiKeyHelper out of"}},
		{it: "finds another cloud", vars: map[string]string{"CLAUDE_CODE_USE_BEDROCK": "1", "CLAUDE_CODE_USE_VERTEX": "0"}, want: []string{"warning | CLAUDE_CODE_USE_BEDROCK is set in this shell | unset CLAUDE_CODE_USE_BEDROCK"}},
		{it: "finds another cloud that passes us over", vars: map[string]string{"CLAUDE_CODE_USE_VERTEX": "true", "ANTHROPIC_BASE_URL": "OURS"}, want: []string{"error | CLAUDE_CODE_USE_VERTEX is set in this shell | unset"}},
		{it: "finds a model that nobody has", vars: map[string]string{"ANTHROPIC_BASE_URL": "OURS", "ANTHROPIC_MODEL": "nobody/x"}, want: []string{"warning | ANTHROPIC_MODEL in this shell is nobody/x | export ANTHROPIC_MODEL=ollama/qwen3:8b"}},
		{it: "knows the models that somebody has", vars: map[string]string{"ANTHROPIC_BASE_URL": "OURS", "ANTHROPIC_MODEL": "signalbox/echo[1m]", "ANTHROPIC_SMALL_FAST_MODEL": "fast-2", "CLAUDE_CODE_SUBAGENT_MODEL": "sonnet", "ANTHROPIC_DEFAULT_OPUS_MODEL": "claude-opus-4"},
			yaml: "aliases: {\"fast*\": signalbox/echo}\n", want: []string{"ok | come here"}},
		{it: "says to what default a model goes", vars: map[string]string{"ANTHROPIC_BASE_URL": "OURS", "ANTHROPIC_MODEL": "gpt-9"}, yaml: "default: signalbox/echo\n", want: []string{"warning | gpt-9 | export ANTHROPIC_MODEL=signalbox/echo"}},
		{it: "finds a file that is no JSON", files: map[string]string{".claude/settings.json": `{"env":`}, want: []string{"error | is no JSON | correct"}},
		{it: "honours CLAUDE_CONFIG_DIR", vars: map[string]string{"CLAUDE_CONFIG_DIR": "HOME/elsewhere"}, files: map[string]string{"~/elsewhere/settings.json": `{"env":{"ANTHROPIC_BASE_URL":"OURS"}}`}, want: []string{"ok | come here (~/elsewhere/settings.json)"}},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			p := newPatient(t)
			port := closedPort(t)
			ours := fmt.Sprintf("http://127.0.0.1:%d", port)
			p.configured(fmt.Sprintf("listen: 127.0.0.1:%d\nproviders: {}\n%s", port, row.yaml))
			for k, v := range row.vars {
				p.vars[k] = strings.NewReplacer("OURS", ours, "HOME", p.env.Home).Replace(v)
			}
			for name, text := range row.files {
				dir := p.env.Dir
				if rest, ok := strings.CutPrefix(name, "~/"); ok {
					dir, name = p.env.Home, rest
				}
				p.file(dir, name, strings.ReplaceAll(text, "OURS", ours))
			}
			var want []string
			for _, w := range row.want {
				want = append(want, strings.ReplaceAll(w, "OURS", ours))
			}
			found := p.look(checkSettings)
			diagnosed(t, found, want...)
			if text := listed(found); strings.Contains(text, "secret") {
				t.Errorf("a credential was printed: %s", text)
			}
		})
	}
}

func TestDoctorProxies(t *testing.T) {
	for _, row := range []struct {
		it   string
		vars map[string]string
		want []string
	}{
		{"says nothing without a proxy", nil, nil},
		{"finds one that takes all", map[string]string{"HTTP_PROXY": "http://proxy:1"}, []string{"warning | HTTP_PROXY is set, and NO_PROXY does not spare 127.0.0.1, localhost | export NO_PROXY=127.0.0.1,localhost",
			"warning | does not spare gpu-box, the host of lab | export NO_PROXY=127.0.0.1,localhost,gpu-box"}},
		{"reads the small letters", map[string]string{"https_proxy": "http://proxy:1", "no_proxy": "localhost,.example.com"}, []string{"warning | https_proxy is set, and NO_PROXY does not spare 127.0.0.1 | export NO_PROXY=localhost,.example.com,127.0.0.1",
			"warning | gpu-box | export NO_PROXY=localhost,.example.com,127.0.0.1,gpu-box"}},
		{"is content with all", map[string]string{"ALL_PROXY": "http://proxy:1", "NO_PROXY": "*"}, []string{"ok | ALL_PROXY is set, and NO_PROXY spares this machine"}},
		{"reads networks and ports", map[string]string{"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "127.0.0.0/8, localhost:3456, gpu-box"}, []string{"ok | "}},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			p := newPatient(t).configured("providers: {lab: {kind: ollama, base_url: \"http://gpu-box:11434\"}}\n")
			for k, v := range row.vars {
				p.vars[k] = v
			}
			diagnosed(t, p.look(checkProxies), row.want...)
		})
	}
}

func TestDoctorLedger(t *testing.T) {
	p := newPatient(t)
	diagnosed(t, p.look(checkLedger), "ok | ~/.oss can be written")
	state, err := p.env.StateDir()
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(state); len(left) != 0 {
		t.Errorf("the look leaves something behind: %v", left)
	}
	examine := func(free uint64) []finding {
		x := newExamination(p.env, p.o)
		x.free = func(string) (uint64, error) { return free, nil }
		return checkLedger(t.Context(), x)
	}
	diagnosed(t, examine(300<<20), "warning | only 300 MiB are free | make room")
	diagnosed(t, examine(3<<20), "error | only 3 MiB are free | make room")
	p.file(state, "ledger.db", "this is no book")
	diagnosed(t, p.look(checkLedger), "error | the ledger's book cannot be opened | mv "+filepath.Join(state, "ledger.db"))
	if err := os.Remove(filepath.Join(state, "ledger.db")); err != nil {
		t.Fatal(err)
	}
	x := newExamination(p.env, p.o)
	if err := os.RemoveAll(state); err != nil {
		t.Fatal(err)
	}
	diagnosed(t, checkLedger(t.Context(), x), "error | nothing can be written in ~/.oss | chown")
	p.vars["SIGNALBOX_STATE_DIR"] = filepath.Join(p.o.file, "below-a-file")
	diagnosed(t, p.look(checkLedger), "error | the state directory cannot be used | export SIGNALBOX_STATE_DIR=…")
}

func TestDoctorPIDFiles(t *testing.T) {
	p := newPatient(t)
	diagnosed(t, p.look(checkPIDFiles))
	state, _ := p.env.StateDir()
	begun, ok := startTicks(os.Getpid())
	if ok {
		p.file(state, "proxy-4000.pid", fmt.Sprintf(`{"pid":%d,"port":4000,"start_time":%d}`, os.Getpid(), begun))
		diagnosed(t, p.look(checkPIDFiles), "ok | running gateways (1)")
	}
	dead := p.file(state, "proxy.pid", `{"pid":4194303,"port":3456,"start_time":5}`)
	diagnosed(t, p.look(checkPIDFiles), "warning | ~/.oss/proxy.pid is stale | rm "+dead)
	if err := os.Remove(dead); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(p.o.file, dead); err != nil {
		t.Fatal(err)
	}
	diagnosed(t, p.look(checkPIDFiles), "error | is a symbolic link | rm "+dead)
}

func TestDoctorModes(t *testing.T) {
	p := newPatient(t)
	key := p.file(p.env.Home, "key", "sk-or-secret\n")
	p.configured("providers: {openrouter: {api_key: \"file:" + key + "\"}}\n")
	diagnosed(t, p.look(checkModes), "ok | closed to others")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	diagnosed(t, p.look(checkModes), "warning | ~/key holds a key and can be read by others (mode 0644) | chmod 600 "+key)
	settings := p.file(p.env.Home, ".claude/settings.json", `{"env":{"ANTHROPIC_API_KEY":"sk-ant-secret"}}`)
	state, _ := p.env.StateDir()
	log := p.file(state, "proxy-3456.log", "")
	for path, mode := range map[string]os.FileMode{key: 0o600, settings: 0o640, log: 0o604, state: 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	diagnosed(t, p.look(checkModes), "warning | ~/.claude/settings.json holds a credential | chmod 600 "+settings, "warning | proxy-3456.log belongs to the gateway | chmod 600 "+log,
		"error | ~/.oss can be written to by others (mode 0777) | chmod 700 "+state)
}

// A check that hangs is a finding; the others are not held up by it.
func TestDoctorIsBounded(t *testing.T) {
	x := newExamination(newPatient(t).env, doctorOptions{})
	end := make(chan struct{})
	defer close(end)
	begun := time.Now()
	found := x.run(t.Context(), []check{
		{"deaf", func(context.Context, *examination) []finding { <-end; return nil }},
		{"polite", func(ctx context.Context, _ *examination) []finding {
			<-ctx.Done()
			return []finding{{Severity: wrong, What: "it took too long", Why: "-", Fix: "-"}}
		}},
		{"quick", func(context.Context, *examination) []finding { return []finding{{What: "well"}} }},
	}, 40*time.Millisecond)
	diagnosed(t, found, "warning | could not be looked at within 40ms | again", "error | it took too long", "ok | well")
	if names := found[0].Check + found[1].Check + found[2].Check; names != "deafpolitequick" {
		t.Errorf("the order is %s", names)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// An Ollama that takes the connection and says nothing does not hold up the rest.
func TestDoctorOfASilentServer(t *testing.T) {
	end := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(end)
	p := newPatient(t).configured("providers: {lab: {kind: ollama, base_url: \"" + s.URL + "\"}}\ndefault: lab/m\n")
	found := newExamination(p.env, p.o).run(t.Context(), doctorChecks, 100*time.Millisecond)
	if !slices.ContainsFunc(found, func(f finding) bool {
		return f.Check == "ollama" && f.Severity == wrong && strings.Contains(f.What, "lab does not answer at "+s.URL)
	}) {
		t.Errorf("got %s", listed(found))
	}
}

func TestDoctorCommand(t *testing.T) {
	p := newPatient(t)
	if code := Main(p.env, []string{"doctor", "--config", p.o.file}); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	if text := p.out.String(); !strings.Contains(text, "signalbox doctor 1.2.3") || !strings.Contains(text, "✓ configuration") || !strings.Contains(text, "All is well.") || strings.Contains(text, "\x1b") {
		t.Errorf("the screen:\n%q", text)
	}
	p.out.Reset()
	p.vars["HTTP_PROXY"] = "http://x"
	if code := Main(p.env, []string{"doctor", "--config", p.o.file}); code != exitOK || !strings.Contains(p.out.String(), "No errors, 1 warning.") {
		t.Errorf("warnings alone are exit code %d:\n%s", code, p.out)
	}
	p.out.Reset()
	delete(p.vars, "NO_COLOR")
	p.configured("providers: {lab: {kind: ollama, base_url: \"http://127.0.0.1:9\"}}\n")
	if code := Main(p.env, []string{"doctor", "--config", p.o.file}); code != exitFailure {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	text := p.out.String()
	if i, j := strings.Index(text, "NO_PROXY does not"), strings.Index(text, "lab does not answer"); i < 0 || j < i || !strings.Contains(text, "\x1b[") || !strings.Contains(text, "1 error, 1 warning.") {
		t.Errorf("the worst comes last, in colour:\n%s", text)
	}
	p.out.Reset()
	if code := Main(p.env, []string{"doctor", "--config", p.o.file, "--json"}); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	severities := map[string]int{}
	for line := range strings.Lines(p.out.String()) {
		var f struct{ Check, Severity, What, Why, Fix string }
		if err := json.Unmarshal([]byte(line), &f); err != nil || f.Check == "" || f.What == "" || (f.Severity == "ok") != (f.Why == "") {
			t.Errorf("%v in %s", err, line)
		}
		severities[f.Severity]++
	}
	if severities["error"] != 1 || severities["warning"] != 1 || severities["ok"] < 3 {
		t.Errorf("got %v", severities)
	}
	p.out.Reset()
	p.configured("nonsense: 1\n")
	if code := Main(p.env, []string{"doctor", "--config", p.o.file}); code != exitUsage || !strings.Contains(p.out.String(), p.o.file+":2: nonsense: unknown key") {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	for _, bad := range [][]string{{"doctor", "--port", "0"}, {"doctor", "extra"}} {
		if code := Main(p.env, bad); code != exitUsage {
			t.Errorf("%v: exit code %d", bad, code)
		}
	}
}

// The screen in docs/cli.md is what a person sees whose agent has a model that is not there, and whose window is small.
func TestDoctorPage(t *testing.T) {
	url := ollamaOf(t, `{}`, map[string]string{"qwen3:8b": showOf(40960, `["completion","tools","thinking"]`)})
	p := newPatient(t)
	p.vars["HTTPS_PROXY"], p.vars["NO_PROXY"] = "http://proxy:8080", "localhost,127.0.0.1"
	port := closedPort(t)
	p.configured(fmt.Sprintf("listen: 127.0.0.1:%d\ndefault: ollama/qwen3:8b\nproviders: {ollama: {base_url: %q}}\nagents: {\"oss:code-reviewer\": ollama/codellama}\n", port, url))
	p.file(p.env.Home, ".claude/settings.json", fmt.Sprintf(`{"env":{"ANTHROPIC_BASE_URL":"http://127.0.0.1:%d"}}`, port))
	x := newExamination(p.env, p.o)
	x.free = func(string) (uint64, error) { return 84 << 30, nil }
	showFindings(p.out, false, p.env.Version, x.run(t.Context(), doctorChecks, doctorLimit))
	screen := strings.NewReplacer("OLLAMA_HOST="+url+" ", "", url, "http://127.0.0.1:11434", " --port "+strconv.Itoa(port), "", strconv.Itoa(port), "3456", "~/signalbox.conf.yaml", "~/.config/signalbox/config.yaml").Replace(p.out.String())
	page, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := "```\n" + strings.Trim(screen, "\n") + "\n```"; !strings.Contains(string(page), want) {
		t.Errorf("docs/cli.md does not hold this screen:\n%s", want)
	}
}
