package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"signalbox/config"
)

// probeTokens bounds what a probe may cost: enough for a model that thinks before it says one word.
const probeTokens = 512

// probeModel is the model of a probe of the target claude when the configuration names none: the cheapest.
const probeModel = "claude-haiku-4-5"

func newModelsTestCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test TARGET",
		Short: "Send one tiny request to a target",
		Long: `Send one tiny request to a target (provider/model, an alias, or claude) and show the answer, how long it took, the tokens and the
cost: through the gateway that runs on the port, else through one that lives as long as the command. No fallback counts: another
target's answer is a failure. Where the answer was free a second request shows whether the model calls tools; --tools asks always.
Exit code 5 when the target cannot serve.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completer{env}.oneTarget,
	}
	port := addPort(cmd)
	tools := cmd.Flags().Bool("tools", false, "ask for a tool call even where it costs money; --tools=false never")
	limit := cmd.Flags().Duration("timeout", 5*time.Minute, "how long the answers may take; a large model takes a while to load")
	addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		ctx, cancel := context.WithTimeoutCause(ctx, *limit, fmt.Errorf("no answer within %s; --timeout waits longer", *limit))
		defer cancel()
		cfg, err := load(env)
		if err != nil {
			return err
		}
		g, err := find(env, cmd, *port)
		if err != nil {
			return err
		}
		p := &probe{target: args[0], gateway: g.url, url: g.url}
		wrong := cfg.CheckTarget(p.target)
		if !answers(g, 2*time.Second) {
			if wrong != "" {
				return failText(exitUsage, wrong)
			}
			alone, off := *cfg, false
			alone.FallbackEnabled = &off
			at, end, err := ownGateway(ctx, env, &alone)
			if err != nil {
				return err
			}
			defer end()
			p.url, p.gateway = at, "own"
		}
		p.prepare(env, cfg)
		r, err := p.ask(ctx)
		if refused := new(refusal); errors.As(err, &refused) && refused.status == http.StatusNotFound && wrong != "" {
			return failText(exitUsage, wrong) // the running gateway does not know the name either
		}
		if err != nil {
			return &ExitError{Code: exitNoTarget, Err: fmt.Errorf("%s cannot serve: %w", p.target, err), Port: g.port}
		}
		if *tools || !cmd.Flags().Changed("tools") && free(r.Cost) {
			p.askTool(ctx, r)
		}
		if asJSON(cmd) {
			writeJSON(env.Stdout, r)
			return nil
		}
		return r.print(env)
	}
	return cmd
}

// probe is one call of models test.
type probe struct {
	target  string
	url     string // where it is sent
	gateway string // what the report calls it
	model   string // the body's
	caller  http.Header
}

// probed is what models test prints for programs.
type probed struct {
	Target    string `json:"target"`
	ServedBy  string `json:"served_by"`
	Answer    string `json:"answer"`
	LatencyMS int64  `json:"latency_ms"`
	Input     int64  `json:"input_tokens"`
	Output    int64  `json:"output_tokens"`
	Cost      string `json:"cost_usd"`          // dollars, or unpriced
	Tools     *bool  `json:"tools,omitempty"`   // whether it called a tool; missing when it was not asked
	Dropped   string `json:"dropped,omitempty"` // what the target could not honour
	ToolError string `json:"tool_error,omitempty"`
	Gateway   string `json:"gateway"` // the URL of the one that runs, or "own": it lived as long as the command
}

// refusal is an answer that is no message.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// prepare fills in what a client of that target would send: an Anthropic model, and, where the provider has no key, a credential of
// the caller's own. A gateway passes that to Anthropic alone.
func (p *probe) prepare(env *Env, cfg *config.Config) {
	p.model, p.caller = p.target, http.Header{}
	target := cfg.Resolve(p.target)
	if target == "claude" && cfg.ClaudeModel == "" {
		p.model = probeModel
	}
	up := cfg.Providers[firstWord(providerForm(cfg, target))]
	if up.Kind != "anthropic" || !up.APIKey.Empty() {
		return
	}
	if key := env.Getenv("ANTHROPIC_API_KEY"); key != "" {
		p.caller.Set("X-Api-Key", key)
	} else if token := env.Getenv("ANTHROPIC_AUTH_TOKEN"); token != "" {
		p.caller.Set("Authorization", "Bearer "+token)
	}
}

// ask is the first request: one word.
func (p *probe) ask(ctx context.Context) (*probed, error) {
	begun := time.Now()
	head, m, err := p.send(ctx, map[string]any{"messages": []any{map[string]any{"role": "user", "content": "Answer with the single word: ok"}}})
	if err != nil {
		return nil, err
	}
	if switched := head.Get("X-Signalbox-Fallback"); switched != "" {
		return nil, fmt.Errorf("another target answered (%s)", printable(switched))
	}
	r := &probed{Target: p.target, ServedBy: head.Get("X-Signalbox-Target"), LatencyMS: time.Since(begun).Milliseconds(), Input: m.Usage.Input, Output: m.Usage.Output,
		Cost: head.Get("X-Signalbox-Cost-Usd"), Dropped: head.Get("X-Signalbox-Dropped"), Gateway: p.gateway}
	for _, b := range m.Content {
		r.Answer += b.Text
	}
	r.Answer = strings.TrimSpace(r.Answer)
	return r, nil
}

// askTool is the second request: may this model be given tools? That it cannot be is a finding and no failure.
func (p *probe) askTool(ctx context.Context, r *probed) {
	_, m, err := p.send(ctx, map[string]any{
		"messages": []any{map[string]any{"role": "user", "content": "Call the tool report with the word ok. Do not write anything else."}},
		"tools": []any{map[string]any{"name": "report", "description": "Reports one word.", "input_schema": map[string]any{
			"type": "object", "properties": map[string]any{"word": map[string]any{"type": "string"}}, "required": []string{"word"}}}},
	})
	called := false
	for _, b := range m.Content {
		called = called || b.Type == "tool_use" && b.Name == "report"
	}
	r.Tools = &called
	if err != nil {
		r.ToolError = err.Error()
	}
}

// message is what a probe reads of an answer.
type message struct {
	Content []struct{ Type, Text, Name string } `json:"content"`
	Usage   struct {
		Input  int64 `json:"input_tokens"`
		Output int64 `json:"output_tokens"`
	} `json:"usage"`
}

// send posts one request to the gateway. A refusal is a *refusal with the gateway's own words, which name the way out.
func (p *probe) send(ctx context.Context, body map[string]any) (http.Header, message, error) {
	var m message
	body["model"], body["max_tokens"] = p.model, probeTokens
	data, err := json.Marshal(body)
	if err != nil {
		return nil, m, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/v1/messages", bytes.NewReader(data))
	if err != nil {
		return nil, m, err
	}
	req.Header = p.caller.Clone()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	req.Header.Set("X-Signalbox-Target", p.target)
	req.Header.Set("X-Signalbox-Agent", "models-test")
	res, err := gateways.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, m, err
	}
	defer res.Body.Close()
	if data, err = io.ReadAll(io.LimitReader(res.Body, 16<<20)); err != nil {
		return nil, m, err
	}
	if res.StatusCode != http.StatusOK {
		var e struct {
			Error struct{ Message string } `json:"error"`
		}
		if json.Unmarshal(data, &e) != nil || e.Error.Message == "" {
			e.Error.Message = "the gateway answered " + res.Status
		}
		return nil, m, &refusal{res.StatusCode, e.Error.Message}
	}
	return res.Header, m, json.Unmarshal(data, &m)
}

// free reports whether a cost in dollars is known and zero.
func free(cost string) bool { return cost != "" && strings.Trim(cost, "0.") == "" }

func (r *probed) print(env *Env) error {
	w, color := env.Stdout, env.Color(env.Stdout)
	fmt.Fprintf(w, "%s %s answers\n", paint(color, styleGood, "✓"), shown(r.ServedBy))
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %s %s\n", paint(color, styleFaint, fmt.Sprintf("%-8s", name)), value)
		}
	}
	answer := []rune(printable(r.Answer))
	if len(answer) > 200 {
		answer = append(answer[:200], '…')
	}
	row("answer", string(answer))
	row("took", (time.Duration(r.LatencyMS) * time.Millisecond).String())
	row("tokens", fmt.Sprintf("%s in, %s out", thousands(r.Input), thousands(r.Output)))
	cost := r.Cost
	if cost != "unpriced" {
		cost = "$" + cost
	}
	row("cost", cost)
	row("dropped", printable(r.Dropped))
	switch {
	case r.Tools == nil:
		row("tools", "not asked; --tools does")
	case r.ToolError != "":
		row("tools", paint(color, styleBad, "no: "+printable(r.ToolError)))
	case *r.Tools:
		row("tools", "yes")
	default:
		row("tools", "it answered without calling the tool")
	}
	via := "through the gateway at " + r.Gateway
	if r.Gateway == "own" {
		via = "through a gateway of the command's own; none runs"
	}
	_, err := fmt.Fprintf(w, "  %s\n", paint(color, styleFaint, via))
	return err
}
