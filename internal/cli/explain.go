package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"signalbox/internal/money"
)

// maxRequest bounds what explain reads: the largest body that the API takes.
const maxRequest = 32 << 20

func newExplainCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain [FILE]",
		Short: "Show which target a request would take, and why",
		Long: `Read a request (the body of POST /v1/messages) from FILE or standard input, and show which target it would take, which rules were
tried, who was passed over and why, how many tokens it has and whether they fit, what it may cost, and which fields would be lost.
Nothing of it is sent to an upstream. The gateway that runs on the port is asked, else one that lives as long as the command.

  signalbox explain < request.json
  signalbox explain --agent oss:code-reviewer request.json
  signalbox explain --path /v1/ollama/qwen3:8b/messages request.json

Exit code 5 when no target can serve it.`,
		Args: cobra.MaximumNArgs(1),
	}
	port := addPort(cmd)
	path := cmd.Flags().String("path", "", "the `PATH` that the request would go to (default /v1/messages)")
	target := cmd.Flags().String("target", "", "the header x-signalbox-target")
	agent := cmd.Flags().String("agent", "", "the header x-signalbox-agent")
	headers := cmd.Flags().StringArrayP("header", "H", nil, "a further header of the request, `'name: value'`")
	addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		body, err := requestOf(env, args)
		if err != nil {
			return err
		}
		h := http.Header{}
		for _, line := range *headers {
			name, value, ok := strings.Cut(line, ":")
			if !ok || strings.TrimSpace(name) == "" {
				return failText(exitUsage, fmt.Sprintf("--header: write 'name: value', not %q", line))
			}
			h.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		}
		for name, value := range map[string]string{"X-Signalbox-Target": *target, "X-Signalbox-Agent": *agent} {
			if value != "" {
				h.Set(name, value)
			}
		}
		data, err := asking(ctx, env, cmd, *port, http.MethodPost, "/admin/v1/explain?path="+url.QueryEscape(*path), h, body)
		if err != nil {
			return err
		}
		var e explained
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("the gateway's answer: %w", err)
		}
		if machine(env, cmd) {
			_, err = env.Stdout.Write(append(bytes.TrimSpace(data), '\n'))
		} else {
			err = e.print(env)
		}
		if err == nil && !e.serves() {
			return &ExitError{Code: exitNoTarget, Err: errors.New("no target would serve this request"), Printed: true}
		}
		return err
	}
	return cmd
}

// requestOf reads the request from the file that is named, else from standard input.
func requestOf(env *Env, args []string) ([]byte, error) {
	from := env.Stdin
	if len(args) == 1 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, fail(exitUsage, err)
		}
		defer f.Close()
		from = f
	} else if f, ok := env.Stdin.(*os.File); ok && isTerminal(f) {
		return nil, failText(exitUsage, "give a request: signalbox explain < request.json, or the name of a file")
	}
	body, err := io.ReadAll(io.LimitReader(from, maxRequest+1))
	switch {
	case err != nil:
		return nil, err
	case len(bytes.TrimSpace(body)) == 0:
		return nil, failText(exitUsage, "the request is empty: give the JSON body of POST /v1/messages")
	case len(body) > maxRequest:
		return nil, failText(exitUsage, "the request is larger than 32 MiB")
	}
	return body, nil
}

// asking asks the admin API of the gateway on the port, or of one that lives as long as the command where none runs.
func asking(ctx context.Context, env *Env, cmd *cobra.Command, port int, method, path string, h http.Header, body []byte) ([]byte, error) {
	g, err := find(env, cmd, port)
	if err != nil {
		return nil, err
	}
	at := g.url
	if !answers(g, 2*time.Second) {
		cfg, err := load(env)
		if err != nil {
			return nil, err
		}
		own, end, err := ownGateway(ctx, env, cfg)
		if err != nil {
			return nil, err
		}
		defer end()
		at = own
	}
	return admin(ctx, method, at+path, g.adminKey, h, body)
}

// explained is the answer of POST /admin/v1/explain, as far as people are shown it.
type explained struct {
	Target string `json:"target"`
	Rule   string `json:"rule"`
	Agent  struct {
		Name string `json:"name"`
		By   string `json:"by"`
	} `json:"agent"`
	Steps []struct {
		Rule  string `json:"rule"`
		Taken bool   `json:"taken"`
		Gives string `json:"gives"`
		Why   string `json:"why"`
	} `json:"steps"`
	Candidates []struct {
		Target string `json:"target"`
		Serves bool   `json:"serves"`
		Why    string `json:"why"`
		Lane   string `json:"lane"`
		Tokens int64  `json:"tokens"`
		Window *int64 `json:"window"`
		Fits   *bool  `json:"fits"`
		Price  *struct {
			Min money.Amount `json:"min_nanousd"`
			Max money.Amount `json:"max_nanousd"`
		} `json:"price"`
		Lost         []string `json:"lost"`
		Approximated []string `json:"approximated"`
		Thinking     string   `json:"thinking"`
		Effort       string   `json:"effort"`
	} `json:"candidates"`
	Excluded []struct {
		Target string `json:"target"`
		Why    string `json:"why"`
	} `json:"excluded"`
	Error *struct {
		Status  int    `json:"status"`
		Message string `json:"message"`
	} `json:"error"`
}

func (e *explained) serves() bool {
	for _, c := range e.Candidates {
		if c.Serves {
			return true
		}
	}
	return false
}

func (e *explained) print(env *Env) error {
	color := env.Color(env.Stdout)
	var b strings.Builder
	if e.Target != "" {
		fmt.Fprintf(&b, "%s, chosen by %s\n", paint(color, styleTitle, shown(e.Target)), ruleWords(e.Rule))
	}
	if e.Error != nil {
		fmt.Fprintf(&b, "%s the request would be answered %d: %s\n", paint(color, styleBad, "✗"), e.Error.Status, shown(e.Error.Message))
	}
	if e.Agent.Name != "" {
		fmt.Fprintf(&b, "asked by %s, recognised by %s\n", shown(e.Agent.Name), e.Agent.By)
	}
	b.WriteString("\nRules, in their order\n")
	last := -1
	for i, s := range e.Steps {
		if s.Taken {
			last = i
		}
	}
	for i, s := range e.Steps {
		mark, text := paint(color, styleFaint, "·"), paint(color, styleFaint, shown(s.Why))
		switch {
		case i == last:
			mark, text = paint(color, styleGood, "✓"), shown(s.Gives)
		case s.Taken:
			text = shown(s.Gives) + paint(color, styleFaint, ", until a rule behind it")
		}
		fmt.Fprintf(&b, "  %s %-8s %s\n", mark, s.Rule, text)
	}
	if len(e.Candidates) > 0 {
		b.WriteString("\nTargets, in the order in which they are asked\n")
	}
	for i, c := range e.Candidates {
		mark := paint(color, styleGood, "✓")
		if !c.Serves {
			mark = paint(color, styleBad, "✗")
		}
		fmt.Fprintf(&b, "  %s %d. %s\n", mark, i+1, shown(c.Target))
		row := func(name, text string) {
			if text != "" {
				fmt.Fprintf(&b, "       %s %s\n", paint(color, styleFaint, fmt.Sprintf("%-8s", name)), text)
			}
		}
		if c.Why != "" {
			row("would not", shown(c.Why))
		}
		row("lane", c.Lane)
		tokens := "about " + thousands(c.Tokens)
		switch {
		case c.Window == nil:
			tokens += ", of a window that is not known"
		case c.Fits != nil && !*c.Fits:
			tokens += paint(color, styleBad, " do not fit into "+thousands(*c.Window))
		default:
			tokens += " of " + thousands(*c.Window)
		}
		row("tokens", tokens)
		switch {
		case c.Price == nil:
			row("price", "unpriced")
		case c.Price.Max == 0:
			row("price", dollars(0))
		default:
			row("price", dollars(c.Price.Min)+" to "+dollars(c.Price.Max))
		}
		row("loses", shownList(c.Lost))
		row("about", shownList(c.Approximated))
		settings := ""
		if c.Thinking != "" {
			settings = "thinking " + c.Thinking
		}
		if c.Effort != "" {
			settings = strings.TrimPrefix(settings+", effort "+c.Effort, ", ")
		}
		row("settings", settings)
	}
	if len(e.Excluded) > 0 {
		b.WriteString("\nPassed over\n")
	}
	for _, x := range e.Excluded {
		fmt.Fprintf(&b, "  %s %s: %s\n", paint(color, styleFaint, "·"), shown(x.Target), shown(x.Why))
	}
	_, err := io.WriteString(env.Stdout, b.String())
	return err
}

func shownList(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return shown(strings.Join(names, ", "))
}

func ruleWords(rule string) string {
	if n, ok := strings.CutPrefix(rule, "rules."); ok {
		return "rule " + n + " of rules"
	}
	words := map[string]string{"path": "the path", "header": "the header x-signalbox-target", "agent": "the agent's entry", "alias": "an alias in the body",
		"body": "the body's model", "default": "the default"}
	if w, ok := words[rule]; ok {
		return w
	}
	return rule
}

func newAgentsCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agents",
		Short: "List the agents it knows, and how each is recognised",
		Long: `List the agents that the gateway knows: those with an entry, and those whose definition files it found (.claude/agents of the user and
of the folder it was started in, and of installed plugins). A request is recognised by the header x-signalbox-agent, by the marker
OSS-ROUTE-AGENT: NAME in the agent's prompt, by the text of its definition file, or by the client's hint headers, in this order.`,
		Args: cobra.NoArgs,
	}
	port := addPort(cmd)
	addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		data, err := asking(cmd.Context(), env, cmd, *port, http.MethodGet, "/admin/v1/agents", http.Header{}, nil)
		if err != nil {
			return err
		}
		var list struct {
			Agents []struct {
				Name       string   `json:"name"`
				Target     string   `json:"target"`
				From       string   `json:"from"`
				File       string   `json:"file"`
				Recognised []string `json:"recognised"`
			} `json:"agents"`
		}
		if err := json.Unmarshal(data, &list); err != nil {
			return fmt.Errorf("the gateway's answer: %w", err)
		}
		if asJSON(cmd) {
			_, err := env.Stdout.Write(append(bytes.TrimSpace(data), '\n'))
			return err
		}
		if len(list.Agents) == 0 {
			fmt.Fprint(env.Stdout, "No agent is known yet. Give one its own model:\n  signalbox models set oss:code-reviewer ollama/codellama\n")
			return nil
		}
		t := table{head: []column{{"AGENT", false}, {"TARGET", false}, {"FROM", false}, {"RECOGNISED BY", false}}, color: env.Color(env.Stdout)}
		for _, a := range list.Agents {
			from := a.From
			if a.File != "" {
				from += " " + short(env, a.File)
			}
			t.rows = append(t.rows, []string{shown(a.Name), shown(a.Target), shown(from), strings.Join(a.Recognised, ", ")})
		}
		return t.print(env.Stdout)
	}
	return cmd
}
