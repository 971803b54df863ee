package providers

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
)

// OpenAIBase is where OpenAI's own API is.
const OpenAIBase = "https://api.openai.com/v1"

// OwnedByOpenAI reports whether an address is OpenAI's own server and not one that is compatible with it; regions have hosts of
// their own.
func OwnedByOpenAI(base string) bool {
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	host := strings.ToLower(u.Hostname())
	return host == "api.openai.com" || strings.HasSuffix(host, ".api.openai.com")
}

// listLimit is how long a model list may take.
const listLimit = 10 * time.Second

// OpenAIModels lists what a server offers at GET /models, the list that all of OpenAI's dialects share. The windows come under
// several names; 0 where none is given.
func (u *Upstream) OpenAIModels(ctx context.Context, sign func(http.Header)) ([]Model, error) {
	data, err := u.Get(ctx, "/models", sign, listLimit)
	if err != nil {
		return nil, err
	}
	if messages.Valid(data) != nil {
		return nil, &fault.Error{Kind: fault.Upstream, Provider: u.Name, Outcome: "bad_body", Message: "the model list is not JSON"}
	}
	list := messages.View(data)
	if list.IsObject() {
		list = list.Get("data")
	}
	var out []Model
	list.ForEach(func(_, m gjson.Result) bool {
		if id := m.Get("id").String(); id != "" {
			out = append(out, Model{ID: id, DisplayName: m.Get("display_name").String(), Created: whole(m, "created"),
				Window:    whole(m, "context_length", "context_window", "max_context_length", "max_model_len", "meta.n_ctx_train"),
				MaxOutput: whole(m, "max_completion_tokens", "max_output_tokens")})
		}
		return true
	})
	return out, nil
}

// whole is the first of the members that holds a whole number.
func whole(m gjson.Result, paths ...string) int64 {
	for _, p := range paths {
		if v := m.Get(p); v.Type == gjson.Number && v.Num >= 0 && v.Num < 1<<53 && v.Int() > 0 {
			return v.Int()
		}
	}
	return 0
}
