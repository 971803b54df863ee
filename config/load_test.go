package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// vars is an environment.
type vars map[string]string

func (v vars) get(name string) string { return v[name] }

var testVars = vars{
	"OPENROUTER_API_KEY": "sk-or-1", "ANTHROPIC_API_KEY": "sk-ant-1", "MISTRAL_API_KEY": "sk-mi-1",
	"SIGNALBOX_TEST_ADMIN_KEY": "adm-1", "TEST_BOX": "gpu-box",
}

func write(t *testing.T, mode os.FileMode, content string, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
	return file
}

// load reads a configuration in a world without the machine's own files.
func load(t *testing.T, o LoadOptions) (*Config, error) {
	t.Helper()
	if o.System == "" {
		o.System = filepath.Join(t.TempDir(), "none.yaml")
	}
	return Load(o)
}

func mustLoad(t *testing.T, o LoadOptions) *Config {
	t.Helper()
	c, err := load(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGood(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*")
	if err != nil || len(files) == 0 {
		t.Fatal("no examples", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c := mustLoad(t, LoadOptions{File: file, Getenv: testVars.get})
			if !slices.Equal(c.Sources, []string{file}) {
				t.Errorf("sources %v", c.Sources)
			}
		})
	}
}

// TestBad takes the message from the first line of each example. It begins with the line number.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no examples", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(data), "\n")
			want, ok := strings.CutPrefix(first, "# want: ")
			if !ok {
				t.Fatal("the example does not say what it wants")
			}
			copied := write(t, 0o644, string(data), t.TempDir(), "config.yaml")
			_, err = load(t, LoadOptions{File: copied, Getenv: testVars.get})
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			got := strings.TrimPrefix(err.Error(), copied+":")
			if !strings.HasPrefix(got, want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if e.ExitCode() != 2 {
				t.Errorf("exit code %d", e.ExitCode())
			}
		})
	}
}

func TestContractExample(t *testing.T) {
	c := mustLoad(t, LoadOptions{File: "testdata/good/contract.yaml", Getenv: testVars.get})
	if got := c.Providers["openrouter"].APIKey.Reveal(); got != "sk-or-1" {
		t.Errorf("openrouter's key is %q", got)
	}
	if p := c.Providers["lab"]; p.Name != "lab" || p.Timeouts.Head.D() != 300*time.Second || p.Builtin {
		t.Errorf("lab is %+v", p)
	}
	if got := c.ProviderNames(); !slices.Equal(got, []string{"anthropic", "lab", "mistral", "ollama", "openrouter", "signalbox"}) {
		t.Errorf("providers %v", got)
	}
	if !c.Providers["signalbox"].Builtin || c.Providers["anthropic"].Builtin {
		t.Error("signalbox alone is built in here")
	}
	if c.Discovered || c.Port() != 3456 || c.Host() != "127.0.0.1" || !c.FallbackOn() || c.Ledger.Keep.D() != 9600*time.Hour {
		t.Errorf("%+v", c)
	}
	if c.Prices["lab/*"].Input != "0" {
		t.Errorf("price %q", c.Prices["lab/*"].Input)
	}
}

func TestExpandAndMerge(t *testing.T) {
	c := mustLoad(t, LoadOptions{File: "testdata/good/expand.yaml", Getenv: testVars.get})
	if c.Default != "lab/qwen3:8b" || c.Providers["lab"].BaseURL != "http://gpu-box:11434" || c.Providers["groq"].APIKey.Reveal() != "sk-or-1" {
		t.Errorf("%s %+v", c.Default, c.Providers)
	}
	c = mustLoad(t, LoadOptions{File: "testdata/good/merge.yaml"})
	if two := c.Providers["two"]; two.Kind != "ollama" || two.BaseURL != "http://10.0.0.2:11434" || two.Timeouts.Idle.D() != 5*time.Minute {
		t.Errorf("two is %+v", two)
	}
}

// TestPrecedence sets the same keys in every layer and takes layers away from the top.
func TestPrecedence(t *testing.T) {
	home, dir, named := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, 0o644, "default: ollama/from-xdg\nagents: {a: ollama/xdg, only-xdg: ollama/xdg}\n", home, ".config/signalbox/config.yaml")
	write(t, 0o644, `{"models": {"default": "ollama/from-user", "agents": {"a": "ollama/user"}}, "other": {"program": 1}}`, home, ".oss/config.json")
	write(t, 0o644, "default: ollama/from-project-yaml\n", dir, "signalbox.yaml")
	write(t, 0o644, `{"models": {"default": "ollama/from-project"}}`, dir, ".oss/config.json")
	file := write(t, 0o644, "default: ollama/from-file\n", named, "c.yaml")
	env := vars{"SIGNALBOX_DEFAULT": "ollama/from-env", "SIGNALBOX_CONFIG": file}
	o := LoadOptions{Home: home, Dir: dir, Getenv: env.get, Flags: Flags{Model: "ollama/from-flag"}}
	check := func(name, want string) {
		t.Helper()
		if c := mustLoad(t, o); c.Default != want {
			t.Errorf("%s: default is %s, want %s (sources %v)", name, c.Default, want, c.Sources)
		}
	}
	check("it takes the flag first", "ollama/from-flag")
	o.Flags.Model = ""
	check("it takes the environment before files", "ollama/from-env")
	delete(env, "SIGNALBOX_DEFAULT")
	check("it takes a named file before the project", "ollama/from-file")
	delete(env, "SIGNALBOX_CONFIG")
	check("it takes the project before the user", "ollama/from-project")
	c := mustLoad(t, o)
	if want := map[string]Entry{"a": {Target: "ollama/user"}, "only-xdg": {Target: "ollama/xdg"}}; !cmp.Equal(c.Agents, want) {
		t.Errorf("it merges entries by name: %v", c.Agents)
	}
	if len(c.Sources) != 4 {
		t.Errorf("sources %v", c.Sources)
	}
	if err := os.Remove(filepath.Join(dir, ".oss/config.json")); err != nil {
		t.Fatal(err)
	}
	check("it reads the project's signalbox.yaml too", "ollama/from-project-yaml")
	o.Dir = ""
	check("it takes the user's .oss before the usual file", "ollama/from-user")
	o.Home = ""
	check("it has no default of its own", "")
}

func TestProjectFiles(t *testing.T) {
	t.Run("it takes names and targets only", func(t *testing.T) {
		dir := t.TempDir()
		write(t, 0o644, "agents: {a: ollama/x}\nproviders: {ollama: {base_url: 'https://evil.example'}}\nprices: {'ollama/*': {input: 1, output: 1}}\nlisten: 0.0.0.0:80\n", dir, "signalbox.yaml")
		write(t, 0o644, `{"apiKeys": {"openrouter": "sk-theirs", "ollama": "http://evil.example"}, "models": {"hooks": {"h": "ollama/y"}, "fallbackEnabled": true}}`, dir, ".oss/config.json")
		c := mustLoad(t, LoadOptions{Dir: dir})
		if c.Agents["a"].Target != "ollama/x" || c.Hooks["h"].Target != "ollama/y" {
			t.Errorf("agents %v hooks %v", c.Agents, c.Hooks)
		}
		if c.Listen != "127.0.0.1:3456" || c.Providers["ollama"].BaseURL != "http://127.0.0.1:11434" || len(c.Prices) != 0 || len(c.Fallbacks) != 0 {
			t.Errorf("a project redirected traffic: %+v", c)
		}
		if _, ok := c.Providers["openrouter"]; ok {
			t.Error("a project brought a key")
		}
		if len(c.Warnings) != 4 {
			t.Errorf("warnings %q", c.Warnings)
		}
	})
	t.Run("it does not read the environment for them", func(t *testing.T) {
		dir := t.TempDir()
		write(t, 0o644, "agents: {a: 'ollama/${ANTHROPIC_API_KEY}'}\n", dir, "signalbox.yaml")
		c := mustLoad(t, LoadOptions{Dir: dir, Getenv: testVars.get})
		if strings.Contains(c.Agents["a"].Target, "sk-ant") || len(c.Warnings) != 1 {
			t.Errorf("agents %v, warnings %v", c.Agents, c.Warnings)
		}
	})
	t.Run("it warns of a provider that is not there", func(t *testing.T) {
		dir := t.TempDir()
		write(t, 0o644, "agents: {a: nobody/x}\n", dir, "signalbox.yaml")
		c := mustLoad(t, LoadOptions{Dir: dir})
		if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], `signalbox.yaml:1: agents.a: "nobody/x": no provider is named "nobody"`) {
			t.Errorf("warnings %q", c.Warnings)
		}
	})
	t.Run("it refuses an unknown key", func(t *testing.T) {
		dir := t.TempDir()
		write(t, 0o644, "agnets: {}\n", dir, "signalbox.yaml")
		if _, err := load(t, LoadOptions{Dir: dir}); err == nil || !strings.Contains(err.Error(), "signalbox.yaml:1: agnets: unknown key; did you mean agents?") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("it survives a page that doubles itself", func(t *testing.T) {
		dir, b := t.TempDir(), strings.Builder{}
		b.WriteString("aliases: {a: &a00 [x, x]}\n")
		for i := range 40 {
			b.WriteString("k" + string(rune('a'+i%26)) + strings.Repeat("x", i/26) + ": &a" + itoa(i+1) + " [*a" + itoa(i) + ", *a" + itoa(i) + "]\n")
		}
		write(t, 0o644, b.String(), dir, "signalbox.yaml")
		if _, err := load(t, LoadOptions{Dir: dir}); err == nil || !strings.Contains(err.Error(), "too many values") {
			t.Errorf("got %v", err)
		}
	})
}

func itoa(i int) string { return string(rune('0'+i/10)) + string(rune('0'+i%10)) }

func TestSeedFile(t *testing.T) {
	home := t.TempDir()
	write(t, 0o600, `{
	"models": {"default": "ollama/qwen3", "agents": {"oss:code-reviewer": "ollama/codellama", "plain": "claude"}, "commands": {"c": "openrouter/a/b"}, "fallback_enabled": true},
	"apiKeys": {"openrouter": "sk-or-seed", "ollama": "http://gpu-box:11434", "nobody": "AIza"}
}`, home, ".oss/config.json")
	c := mustLoad(t, LoadOptions{Home: home})
	if c.Default != "ollama/qwen3" || c.Agents["oss:code-reviewer"].Target != "ollama/codellama" || c.Commands["c"].Target != "openrouter/a/b" {
		t.Errorf("%+v", c)
	}
	if c.Providers["openrouter"].APIKey.Reveal() != "sk-or-seed" || c.Providers["ollama"].BaseURL != "http://gpu-box:11434" {
		t.Errorf("%+v", c.Providers)
	}
	want := map[string][]string{"ollama/qwen3": {"claude"}, "ollama/codellama": {"claude"}, "openrouter/a/b": {"claude"}}
	if !cmp.Equal(c.Fallbacks, want) {
		t.Errorf("fallbacks %v", c.Fallbacks)
	}
	if len(c.Warnings) != 1 || strings.Contains(c.Warnings[0], "AIza") {
		t.Errorf("warnings %q", c.Warnings)
	}
	c = mustLoad(t, LoadOptions{Home: home, Getenv: vars{"OPENROUTER_API_KEY": "sk-or-env"}.get})
	if got := c.Providers["openrouter"].APIKey.Reveal(); got != "sk-or-env" {
		t.Errorf("it takes the environment's key first: %q", got)
	}
	write(t, 0o644, `{"apiKeys": {"openrouter": "sk-or-seed"}}`, home, ".oss/config.json")
	if _, err := load(t, LoadOptions{Home: home}); err == nil || !strings.Contains(err.Error(), "apiKeys.openrouter: a key stands in a file that others can read") || strings.Contains(err.Error(), "sk-or-seed") {
		t.Errorf("got %v", err)
	}
}

func TestDiscovery(t *testing.T) {
	for _, test := range []struct {
		name  string
		env   vars
		names string
		check func(*Config) bool
	}{
		{"it finds the usual Ollama with nothing at all", nil, "anthropic ollama signalbox", func(c *Config) bool {
			return c.Discovered && c.Providers["ollama"].BaseURL == "http://127.0.0.1:11434" && c.Providers["anthropic"].Builtin
		}},
		{"it finds every account", vars{"ANTHROPIC_API_KEY": "1", "OPENROUTER_API_KEY": "2", "OPENAI_API_KEY": "3", "MISTRAL_API_KEY": "4", "GROQ_API_KEY": "5",
			"DEEPSEEK_API_KEY": "6", "XAI_API_KEY": "7", "TOGETHER_API_KEY": "8", "FIREWORKS_API_KEY": "9", "GEMINI_API_KEY": "10"},
			"anthropic deepseek fireworks gemini groq mistral ollama openai openrouter signalbox together xai", func(c *Config) bool {
				return c.Providers["xai"].APIKey.Reveal() == "7" && c.Providers["xai"].Kind == "openai" && !c.Providers["anthropic"].Builtin
			}},
		{"it honours a base URL", vars{"OPENAI_API_KEY": "3", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}, "anthropic ollama openai signalbox",
			func(c *Config) bool { return c.Providers["openai"].BaseURL == "http://127.0.0.1:9/v1" }},
		{"it does not let the keyless anthropic call ourselves", vars{"ANTHROPIC_BASE_URL": "http://127.0.0.1:3456"}, "anthropic ollama signalbox",
			func(c *Config) bool { return c.Providers["anthropic"].BaseURL == "" && len(c.Warnings) == 1 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := mustLoad(t, LoadOptions{Getenv: test.env.get})
			if got := strings.Join(c.ProviderNames(), " "); got != test.names || !test.check(c) {
				t.Errorf("names %q, %+v", got, c)
			}
		})
	}
	t.Run("it refuses to call itself", func(t *testing.T) {
		_, err := load(t, LoadOptions{Getenv: vars{"ANTHROPIC_API_KEY": "1", "ANTHROPIC_BASE_URL": "http://localhost:3456/"}.get})
		if err == nil || !strings.HasPrefix(err.Error(), "ANTHROPIC_BASE_URL: providers.anthropic.base_url: http://localhost:3456/ points at this gateway itself") {
			t.Errorf("got %v", err)
		}
	})
}

func TestOllamaURL(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "http://127.0.0.1:11434",
		"0.0.0.0":                  "http://127.0.0.1:11434",
		"0.0.0.0:11500":            "http://127.0.0.1:11500",
		":11500":                   "http://127.0.0.1:11500",
		"[::]:11500":               "http://127.0.0.1:11500",
		"::1":                      "http://[::1]:11434",
		"gpu-box":                  "http://gpu-box:11434",
		"http://gpu-box":           "http://gpu-box:11434",
		"http://gpu-box:80/":       "http://gpu-box:80",
		"https://ollama.example":   "https://ollama.example",
		"https://o.example:8443/x": "https://o.example:8443/x",
		` "127.0.0.1:1" `:          "http://127.0.0.1:1",
	} {
		if got := ollamaURL(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	file := write(t, 0o644, "providers: {my-lab: {kind: ollama}}\n", t.TempDir(), "c.yaml")
	c := mustLoad(t, LoadOptions{File: file, Getenv: vars{
		"SIGNALBOX_LISTEN": "127.0.0.1:4000", "SIGNALBOX_PORT": "4001", "SIGNALBOX_RETRY_ATTEMPTS": "3", "SIGNALBOX_LEDGER_SYNC": "always",
		"SIGNALBOX_STRICT": "true", "SIGNALBOX_ALLOWED_HOSTS": "a, b", "SIGNALBOX_ALIASES": "{fast: my-lab/x}", "SIGNALBOX_GRACE": "5s",
		"SIGNALBOX_ADMIN_KEY": "k", "SIGNALBOX_PROVIDERS_MY_LAB_BASE_URL": "http://box:1", "SIGNALBOX_PROVIDERS_MY_LAB_TIMEOUTS_IDLE": "9s",
		"SIGNALBOX_FALLBACK_ENABLED": "false",
	}.get})
	if c.Listen != "127.0.0.1:4001" || c.Retry.Attempts != 3 || c.Ledger.Sync != "always" || !c.Strict || c.Aliases["fast"] != "my-lab/x" ||
		c.Grace.D() != 5*time.Second || c.AdminKey.Reveal() != "k" || c.FallbackOn() || !slices.Equal(c.AllowedHosts, []string{"a", "b"}) {
		t.Errorf("%+v", c)
	}
	if p := c.Providers["my-lab"]; p.BaseURL != "http://box:1" || p.Timeouts.Idle.D() != 9*time.Second {
		t.Errorf("%+v", p)
	}
	for name, env := range map[string]vars{
		`SIGNALBOX_RETRY_ATTEMPTS: expected a whole number`: {"SIGNALBOX_RETRY_ATTEMPTS": "many"},
		`SIGNALBOX_PORT: "x" is no port`:                    {"SIGNALBOX_PORT": "x"},
		`SIGNALBOX_KEYS: not supported by this version yet`: {"SIGNALBOX_KEYS": "[]"},
		`SIGNALBOX_HOST`: nil,
		`SIGNALBOX_LISTEN: listen: 0.0.0.0:1 can be reached from other`:        {"SIGNALBOX_LISTEN": "0.0.0.0:1"},
		`SIGNALBOX_QUEUE: queue: -1 is too small: at least 0`:                  {"SIGNALBOX_QUEUE": "-1"},
		`SIGNALBOX_ADMIN_KEY: admin_key: environment variable NONE is not set`: {"SIGNALBOX_ADMIN_KEY": "env:NONE"},
	} {
		if env == nil {
			continue
		}
		if _, err := load(t, LoadOptions{Getenv: env.get}); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("got  %v\nwant %s", err, name)
		}
	}
}

// TestEveryKeyCanBeSet walks the types: a field of a new type that apply does not know would otherwise be found by a user.
func TestEveryKeyCanBeSet(t *testing.T) {
	var walk func(typ reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		for i := range typ.NumField() {
			name := yamlName(typ.Field(i))
			if name == "" {
				continue
			}
			ft, key := typ.Field(i).Type, join(path, name)
			if reflect.PointerTo(ft).Implements(reflect.TypeFor[scalar]()) {
				continue
			}
			if ft.Kind() == reflect.Struct {
				walk(ft, key)
				continue
			}
			if ft.Kind() == reflect.Map && ft.Elem().Kind() == reflect.Struct {
				walk(ft.Elem(), key+".x")
				continue
			}
			a := applier{where: map[string]place{}}
			err := a.set(reflect.New(ft).Elem(), &node{form: form(99)}, key, 1)
			if err != nil && strings.Contains(err.Error(), "cannot be set") {
				t.Errorf("%s: %v", key, err)
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
}

func TestFlags(t *testing.T) {
	port, grace := 0, 3*time.Second
	c := mustLoad(t, LoadOptions{Flags: Flags{Host: "::1", Port: &port, Grace: &grace, Model: "openrouter/a/b", APIKey: NewSecret("sk-flag"), BaseURL: "http://127.0.0.1:9"}})
	if c.Listen != "[::1]:0" || c.Grace.D() != grace || c.Default != "openrouter/a/b" {
		t.Errorf("%+v", c)
	}
	if p := c.Providers["openrouter"]; p.APIKey.Reveal() != "sk-flag" || p.BaseURL != "http://127.0.0.1:9" {
		t.Errorf("%+v", p)
	}
	keyed := write(t, 0o600, "sk-file\n", t.TempDir(), "key")
	c = mustLoad(t, LoadOptions{Flags: Flags{Model: "groq/x", KeyFile: keyed}})
	if c.Providers["groq"].APIKey.Reveal() != "sk-file" {
		t.Errorf("%+v", c.Providers["groq"])
	}
	open := write(t, 0o640, "sk-file\n", t.TempDir(), "key")
	for want, f := range map[string]Flags{
		"--api-key-file: " + open + " can be read by others (mode 0640)": {Model: "groq/x", KeyFile: open},
		"--model: required with --api-key":                               {APIKey: NewSecret("x")},
		`--model: default: "nobody/x": no provider is named "nobody"`:    {Model: "nobody/x"},
		`--model: default: "codellama" is neither provider/model`:        {Model: "codellama"},
		"listen: 0.0.0.0:3456 can be reached from other machines":        {Host: "0.0.0.0"},
		"--base-url: providers.ollama.base_url: plain http to a.example": {Model: "ollama/x", BaseURL: "http://a.example"},
	} {
		if _, err := load(t, LoadOptions{Flags: f}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if c := mustLoad(t, LoadOptions{Flags: Flags{Host: "0.0.0.0", AllowOpen: true}}); c.Host() != "0.0.0.0" {
		t.Errorf("listen %s", c.Listen)
	}
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, 0o644, "  sk-from-file\n", dir, "secret")
	file := write(t, 0o644, "admin_key: file:secret\n", dir, "c.yaml")
	c := mustLoad(t, LoadOptions{File: file})
	if c.AdminKey.Reveal() != "sk-from-file" || !slices.Contains(c.Watched, filepath.Join(dir, "secret")) {
		t.Errorf("key %q, watched %v", c.AdminKey.Reveal(), c.Watched)
	}
	literal := write(t, 0o600, "admin_key: plain\n", dir, "d.yaml")
	if c := mustLoad(t, LoadOptions{File: literal}); c.AdminKey.Reveal() != "plain" {
		t.Error("a literal in a private file is fine")
	}
}

func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*", "testdata/bad/*"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	dir := f.TempDir()
	file := filepath.Join(dir, "config.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(LoadOptions{File: file, Getenv: testVars.get, System: filepath.Join(dir, "none")})
		var e *Error
		switch {
		case err != nil && !errors.As(err, &e):
			t.Fatalf("an error of another type: %v", err)
		case err == nil && (c.Providers["signalbox"].Kind != "signalbox" || !c.AllowOpen && !loopback(c.Host())):
			t.Fatalf("a promise is broken: %+v", c)
		}
	})
}
