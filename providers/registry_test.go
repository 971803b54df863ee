package providers

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"signalbox/config"
	"signalbox/internal/fault"
)

// built is a provider that only remembers what it was made of.
type built struct{ cfg config.Provider }

func (*built) Send(context.Context, Call) (*Reply, error) { return nil, errors.New("not asked") }
func (*built) Models(context.Context) ([]Model, error)    { return nil, nil }
func (*built) Ping(context.Context) error                 { return nil }
func count(n *atomic.Int64, slow chan struct{}) Constructor {
	return func(cfg config.Provider, _ Deps) (Provider, error) {
		n.Add(1)
		if slow != nil {
			<-slow
		}
		return &built{cfg}, nil
	}
}

func TestRegistry(t *testing.T) {
	var ollamas, routers atomic.Int64
	kinds := map[string]Constructor{"ollama": count(&ollamas, nil), "openrouter": count(&routers, nil)}
	r, err := NewRegistry(kinds, map[string]config.Provider{
		"ollama": {BaseURL: "http://127.0.0.1:11434/"}, "lab": {Kind: "ollama", BaseURL: "https://lab.example/"}, "openrouter": {APIKey: config.NewSecret("sk-or")},
	}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if ollamas.Load()+routers.Load() != 0 {
		t.Error("it builds before anybody asks")
	}
	made := map[string]*built{}
	for range 3 {
		for _, name := range r.Names() {
			p, err := r.Get(name)
			if err != nil {
				t.Fatal(err)
			}
			if made[name] != nil && made[name] != p.(*built) {
				t.Errorf("%s is built anew", name)
			}
			made[name] = p.(*built)
		}
	}
	if strings.Join(r.Names(), " ") != "lab ollama openrouter" || ollamas.Load() != 2 || routers.Load() != 1 {
		t.Errorf("names %v, %d and %d built", r.Names(), ollamas.Load(), routers.Load())
	}
	// Each gets its own configuration, and its name.
	for name, p := range made {
		if c, ok := r.Config(name); !ok || c.Name != name || p.cfg.Name != name || p.cfg.BaseURL != c.BaseURL || p.cfg.APIKey.Empty() != (name != "openrouter") {
			t.Errorf("%s has %+v", name, p.cfg)
		}
	}
	var f *fault.Error
	if _, err := r.Get("nobody"); !errors.As(err, &f) || f.Kind != fault.NotFound || !strings.Contains(f.Message, `"nobody" is not configured; known providers: lab, ollama, openrouter`) {
		t.Errorf("an unknown name: %v", err)
	}
	if _, err := NewRegistry(kinds, map[string]config.Provider{"nobody": {}}, Deps{}); !errors.As(err, &f) || f.Kind != fault.Invalid ||
		f.Message != `providers.nobody.kind: "nobody" is unknown; known kinds: ollama, openrouter` {
		t.Errorf("an unknown kind: %v", err)
	}
	r.Close()
	if _, err := r.Get("ollama"); err != nil {
		t.Errorf("one that was built stays while requests use it: %v", err)
	}
}

// However many ask at once, one is built, and nobody gets another.
func TestRegistryBuildsOnce(t *testing.T) {
	var n atomic.Int64
	slow := make(chan struct{})
	r, err := NewRegistry(map[string]Constructor{"ollama": count(&n, slow)}, map[string]config.Provider{"ollama": {}}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan Provider, 64)
	var all sync.WaitGroup
	for range cap(got) {
		all.Go(func() {
			p, err := r.Get("ollama")
			if err != nil {
				t.Error(err)
			}
			got <- p
		})
	}
	close(slow)
	all.Wait()
	first := <-got
	for range cap(got) - 1 {
		if p := <-got; p != first {
			t.Fatal("two were given out")
		}
	}
	if n.Load() != 1 {
		t.Errorf("%d were built", n.Load())
	}
}

// An address keeps its scheme and loses its last slash; what is no address is refused with the field's name.
func TestBaseURL(t *testing.T) {
	for raw, want := range map[string]string{"http://127.0.0.1:11434/": "http://127.0.0.1:11434/api/chat", "https://lab.example/ollama//": "https://lab.example/ollama/api/chat", "": "http://usual/api/chat"} {
		u, err := NewUpstream(config.Provider{Name: "lab", BaseURL: raw}, "http://usual", Deps{})
		if err != nil {
			t.Fatal(err)
		}
		if got := u.URL("/api/chat"); got != want {
			t.Errorf("%q leads to %s, want %s", raw, got, want)
		}
	}
	for _, raw := range []string{"127.0.0.1:11434", "ftp://lab", "http://"} {
		if _, err := NewUpstream(config.Provider{Name: "lab", BaseURL: raw}, "", Deps{}); err == nil || !strings.Contains(err.Error(), "providers.lab.base_url: must be an http or https address") {
			t.Errorf("%q: %v", raw, err)
		}
	}
}
