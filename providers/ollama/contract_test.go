package ollama

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/internal/testkit"
)

// What a real server does, where this package leans on it. Each test asks the server itself first (raw), so that a new
// version which behaves otherwise is seen here, and then asks through the provider.

// raw sends a body to the server's own chat and gives its status and the objects it answers with.
func raw(t *testing.T, o *testkit.Ollama, body string) (int, []map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, o.URL+"/api/chat", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var lines []map[string]any
	for line := range bytes.Lines(data) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		var v map[string]any
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		lines = append(lines, v)
	}
	return res.StatusCode, lines
}

func field(v map[string]any, path ...string) any {
	for _, p := range path[:len(path)-1] {
		v, _ = v[p].(map[string]any)
	}
	return v[path[len(path)-1]]
}

const weather = `"tools":[{"name":"get_weather","description":"Weather of a city","input_schema":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city"]}}]`

func TestContractThinking(t *testing.T) {
	o := testkit.RealOllama(t)
	c, _ := client(t, config.Provider{BaseURL: o.URL})

	_, lines := raw(t, o, `{"model":"agent","stream":false,"messages":[{"role":"user","content":"hi there"}]}`)
	if field(lines[0], "message", "thinking") == nil {
		t.Error("a model that can think does not when think is absent: O6 could go")
	}
	status, lines := raw(t, o, `{"model":"agent","stream":false,"think":"high","messages":[{"role":"user","content":"hi there"}]}`)
	if status != http.StatusBadRequest {
		t.Errorf("a level on a model without levels is a %d: %v", status, lines)
	}
	status, lines = raw(t, o, `{"model":"coder","stream":false,"think":true,"messages":[{"role":"user","content":"hi there"}]}`)
	if status != http.StatusBadRequest || !strings.Contains(fmt.Sprint(lines), "does not support thinking") {
		t.Errorf("thinking on a model that cannot is a %d: %v", status, lines)
	}

	for name, x := range map[string]struct {
		model, thinking string
		thinks          bool
		dropped         []string
	}{
		"it does not think when thinking is absent":   {"agent", ``, false, nil},
		"it does not think when thinking is disabled": {"agent", `"thinking":{"type":"disabled"},`, false, nil},
		"it thinks when it is enabled":                {"agent", `"thinking":{"type":"enabled","budget_tokens":1024},`, true, nil},
		"it thinks whatever the effort":               {"agent", `"thinking":{"type":"adaptive"},"output_config":{"effort":"max"},`, true, nil},
		"it answers without when it cannot":           {"coder", `"thinking":{"type":"adaptive"},`, false, []string{"thinking"}},
	} {
		for _, stream := range []string{"true", "false"} {
			t.Run(name+" stream "+stream, func(t *testing.T) {
				m, reply, err := send(t.Context(), c, call(t, x.model, `{"max_tokens":100,`+x.thinking+`"stream":`+stream+`,"messages":[{"role":"user","content":"hi there"}]}`))
				if err != nil {
					t.Fatal(err)
				}
				if m.said() != "You said: hi there" || m.StopReason != "end_turn" || m.Usage.Input == 0 || m.Usage.Output == 0 {
					t.Errorf("answer is %+v", m)
				}
				if got := m.Content[0].Type == "thinking" && m.Content[0].Thinking != ""; got != x.thinks {
					t.Errorf("thinks: %t, want %t: %+v", got, x.thinks, m.Content)
				}
				if got := reply.Notes.Fields(); !slices.Equal(got, x.dropped) {
					t.Errorf("dropped: %v, want %v", got, x.dropped)
				}
				if u := reply.Usage(); !u.Known || u.Input != m.Usage.Input || u.Output != m.Usage.Output {
					t.Errorf("the reply's usage is %+v, the caller saw %+v", u, m.Usage)
				}
			})
		}
	}
}

func TestContractCallsComeWhole(t *testing.T) {
	o := testkit.RealOllama(t)
	_, lines := raw(t, o, `{"model":"agent","think":false,"messages":[{"role":"user","content":"say \"quoted\" Oslo"}],"tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}}}}}]}`)
	calls := 0
	for _, line := range lines {
		list, _ := field(line, "message", "tool_calls").([]any)
		for _, call := range list {
			calls++
			f := call.(map[string]any)["function"].(map[string]any)
			args, object := f["arguments"].(map[string]any)
			if !object || args["city"] != `say "quoted" Oslo` || args["days"] != 1.0 {
				t.Errorf("the call is %v", call)
			}
		}
	}
	if calls != 1 {
		t.Errorf("%d calls in %d lines", calls, len(lines))
	}
	status, lines := raw(t, o, `{"model":"agent","messages":[{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},{"role":"user","content":"x"}]}`)
	if status != http.StatusBadRequest {
		t.Errorf("arguments as a string are a %d: %v", status, lines)
	}
}

// A tool that must be called: the server takes the tool's schema as a format, and the answer is its arguments.
func TestContractForcedTool(t *testing.T) {
	o := testkit.RealOllama(t)
	c, _ := client(t, config.Provider{BaseURL: o.URL})
	status, lines := raw(t, o, `{"model":"agent","stream":false,"think":false,"format":{"type":"object","properties":{"a":{"type":"string","pattern":"^(?!x)a"}}},"messages":[{"role":"user","content":"hi"}]}`)
	if status == http.StatusOK || !strings.Contains(fmt.Sprint(lines), "invalid JSON schema in format") {
		t.Errorf("a schema without a grammar is a %d: %v", status, lines)
	}
	// The model echo says what it hears; only the grammar makes a call of that.
	const city = `{"type":"object","properties":{"city":{"type":"string","enum":["Oslo","Rome"]},"days":{"type":"integer","enum":[1,2]}},"required":["city","days"]}`
	const two = `"tools":[{"name":"get_weather","input_schema":` + city + `},{"name":"stop","input_schema":{"type":"object","properties":{"now":{"type":"boolean"}},"required":["now"]}}],`
	for name, x := range map[string]struct {
		tools, choice string
		calls         []string
	}{
		"it must call the tool that is named": {two, `{"type":"tool","name":"get_weather"}`, []string{"get_weather"}},
		"it must call the one that there is":  {`"tools":[{"name":"get_weather","input_schema":` + city + `}],`, `{"type":"any"}`, []string{"get_weather"}},
		"it must call one of several":         {two, `{"type":"any","disable_parallel_tool_use":true}`, []string{"get_weather", "stop"}},
		"it is free where no grammar is made": {`"tools":[{"name":"get_weather","input_schema":{"type":"object","properties":{"city":{"type":"string","pattern":"^(?!x)a"}}}}],`, `{"type":"any"}`, nil},
	} {
		for _, stream := range []string{"true", "false"} {
			t.Run(name+" stream "+stream, func(t *testing.T) {
				m, reply, err := send(t.Context(), c, call(t, "echo", `{"max_tokens":200,"stream":`+stream+`,`+x.tools+`"tool_choice":`+x.choice+`,"messages":[{"role":"user","content":"How is it in Rome?"}]}`))
				if err != nil {
					t.Fatal(err)
				}
				dropped := reply.Notes.Fields()
				if reply.NotesFunc != nil {
					dropped = reply.NotesFunc().Fields()
				}
				if x.calls == nil {
					if !strings.Contains(m.said(), "Rome") || !slices.Contains(dropped, "tool_choice") {
						t.Errorf("answer is %+v, dropped %v", m, dropped)
					}
					return
				}
				if len(m.Content) != 1 || !slices.Contains(x.calls, m.Content[0].Name) || m.StopReason != "tool_use" || m.Content[0].ID == "" || len(dropped) != 0 {
					t.Fatalf("answer is %+v, dropped %v", m, dropped)
				}
				var args struct {
					City string
					Days int
				}
				if err := json.Unmarshal(m.Content[0].Input, &args); err != nil || m.Content[0].Name == "get_weather" && (args.City != "Oslo" && args.City != "Rome" || args.Days < 1 || args.Days > 2) {
					t.Errorf("the arguments are %s", m.Content[0].Input)
				}
			})
		}
	}
}

// Where an answer has a format, calls stand beside it: the server alone would let none be made.
func TestContractFormatBesideTools(t *testing.T) {
	o := testkit.RealOllama(t)
	c, _ := client(t, config.Provider{BaseURL: o.URL})
	const format = `"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"n":{"$ref":"#/$defs/n"}},"required":["n"],"additionalProperties":false,"$defs":{"n":{"type":"integer","enum":[1,2]}}}}},`
	const tool = `"tools":[{"name":"get_weather","input_schema":{"type":"object","properties":{"city":{"type":"string","enum":["Oslo","Rome"]}},"required":["city"]}}],`
	for _, stream := range []string{"true", "false"} {
		for _, model := range []string{"echo", "agent", "coder"} {
			m, _, err := send(t.Context(), c, call(t, model, `{"max_tokens":500,"temperature":0,"stream":`+stream+`,`+format+tool+`"messages":[{"role":"user","content":"How is it in Rome?"}]}`))
			if err != nil {
				t.Fatal(err)
			}
			// These models know no JSON: which of the two it is the grammar's first choice decides.
			var answer struct{ N int }
			called := len(m.Content) == 1 && m.Content[0].Name == "get_weather" && m.StopReason == "tool_use"
			if !called && (json.Unmarshal([]byte(m.said()), &answer) != nil || answer.N < 1 || answer.N > 2) {
				t.Errorf("%s, stream %s: answer is %+v", model, stream, m)
			}
		}
	}
}

// The loop that agents live by: a call out, its result back, an answer; streamed, with thinking, twice over so that the
// second call's id must differ.
func TestContractToolLoop(t *testing.T) {
	o := testkit.RealOllama(t)
	c, _ := client(t, config.Provider{BaseURL: o.URL})
	history := `{"role":"user","content":"Weather in \"Oslo\"?"}`
	var ids []string
	for range 2 {
		m, _, err := send(t.Context(), c, call(t, "agent", `{"max_tokens":1000,"stream":true,"thinking":{"type":"adaptive"},`+weather+`,"messages":[`+history+`]}`))
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Content) != 2 || m.Content[0].Type != "thinking" || m.StopReason != "tool_use" {
			t.Fatalf("answer is %+v", m)
		}
		b := m.Content[1]
		var args struct {
			City string
			Days int
		}
		if err := json.Unmarshal(b.Input, &args); err != nil || b.Name != "get_weather" || !strings.Contains(args.City, "Oslo") || args.Days != 1 || b.ID == "" {
			t.Fatalf("the call is %+v (%s)", b, b.Input)
		}
		if slices.Contains(ids, b.ID) {
			t.Fatalf("the id %s comes twice in one conversation", b.ID)
		}
		ids = append(ids, b.ID)
		thought, _ := json.Marshal(m.Content[0].Thinking)
		history += fmt.Sprintf(`,{"role":"assistant","content":[{"type":"thinking","thinking":%s,"signature":""},{"type":"tool_use","id":%q,"name":%q,"input":%s}]}`, thought, b.ID, b.Name, b.Input)

		result := history + fmt.Sprintf(`,{"role":"user","content":[{"type":"tool_result","tool_use_id":%q,"content":[{"type":"text","text":"Rain, 4 C"}]}]}`, b.ID)
		m, _, err = send(t.Context(), c, call(t, "agent", `{"max_tokens":1000,"stream":true,`+weather+`,"messages":[`+result+`]}`))
		if err != nil {
			t.Fatal(err)
		}
		if m.said() != "The tool said: Rain, 4 C" || m.StopReason != "end_turn" {
			t.Fatalf("answer is %+v", m)
		}
		history = result + `,{"role":"assistant","content":"The tool said: Rain, 4 C"},{"role":"user","content":"And in Oslo tomorrow?"}`
	}
}

// The server reads a tool's schema into structs and refuses the whole request for what does not fit them.
func TestContractOddSchemas(t *testing.T) {
	o := testkit.RealOllama(t)
	body := `{"model":"coder","stream":false,"tools":[{"type":"function","function":{"name":"Bash","parameters":{"type":"object","properties":{"a":{"properties":[]}}}}}],"messages":[{"role":"user","content":"hi"}]}`
	if status, _ := raw(t, o, body); status != http.StatusBadRequest {
		t.Errorf("the server takes a list for properties: %d", status)
	}
	c, _ := client(t, config.Provider{BaseURL: o.URL})
	for _, schema := range []string{
		`{"type":"object"}`,
		`{"type":"object","properties":{"a":true,"b":false,"c":null,"d":"string"}}`,
		`{"type":"object","properties":{"a":{"type":"object","properties":[]},"b":{"type":["string","null"],"enum":["x",1,null]}}}`,
		`{"type":"object","properties":{"a":{"type":null,"description":["x"],"enum":"x","required":true}},"required":true}`,
		`{"type":"object","properties":{"a":{"anyOf":[true,{"type":"string"},null]},"b":{"anyOf":{"type":"string"}},"c":{"type":"array","items":true}}}`,
		`{"type":["object","null"],"properties":[],"required":null,"$defs":{"x":true},"items":{}}`,
		`{"type":"object","properties":{"a":{"type":"object","properties":{"b":{"type":"array","items":{"type":"object","properties":{"c":true}}}}}}}`,
	} {
		_, _, err := send(t.Context(), c, call(t, "coder", `{"max_tokens":9,"tools":[{"name":"Bash","input_schema":`+schema+`}],"messages":[{"role":"user","content":"hi"}]}`))
		if err != nil {
			t.Errorf("%s: %v", schema, err)
		}
	}
}

func TestContractImages(t *testing.T) {
	o := testkit.RealOllama(t)
	c, _ := client(t, config.Provider{BaseURL: o.URL})
	const png = `iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==`
	status, lines := raw(t, o, `{"model":"echo","stream":false,"think":false,"messages":[{"role":"user","content":"hi","images":["`+png+`"]}]}`)
	if status != http.StatusOK || field(lines[0], "message", "content") != "[img-0]hi" {
		t.Errorf("an image for a blind model is a %d: %v", status, lines)
	}
	m, reply, err := send(t.Context(), c, call(t, "echo", `{"max_tokens":100,"messages":[{"role":"user","content":[{"type":"text","text":"hi"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"`+png+`"}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(m.said(), "this model cannot see images") || !slices.Equal(reply.Notes.Fields(), []string{"image"}) {
		t.Errorf("said %q, dropped %v", m.said(), reply.Notes.Fields())
	}
}

func TestContractMissingModel(t *testing.T) {
	o := testkit.RealOllama(t)
	c, _ := client(t, config.Provider{BaseURL: o.URL})
	status, lines := raw(t, o, `{"model":"nope","messages":[{"role":"user","content":"hi"}]}`)
	if status != http.StatusNotFound || fmt.Sprint(lines[0]["error"]) != "model 'nope' not found" {
		t.Errorf("a missing model is a %d: %v", status, lines)
	}
	_, _, err := send(t.Context(), c, call(t, "nope", prompt(1)))
	if f := fault.From(err); f.Kind != fault.NotFound || !f.Void || !strings.Contains(f.Message, `model "nope" is not pulled; run: ollama pull nope`) {
		t.Errorf("got %v", err)
	}
}

func TestContractLimits(t *testing.T) {
	o := testkit.RealOllama(t)
	c, _ := client(t, config.Provider{BaseURL: o.URL})
	m, _, err := send(t.Context(), c, call(t, "echo", `{"max_tokens":3,"stream":true,"messages":[{"role":"user","content":"0123456789 0123456789"}]}`))
	if err != nil || m.StopReason != "max_tokens" || m.Usage.Output != 3 {
		t.Errorf("cut by max_tokens: %+v, %v", m, err)
	}
	m, _, err = send(t.Context(), c, call(t, "echo", `{"max_tokens":99,"stop_sequences":["STOP"],"messages":[{"role":"user","content":"before STOP after"}]}`))
	if err != nil || m.StopReason != "end_turn" || strings.Contains(m.said(), "after") {
		t.Errorf("cut by a stop sequence: %+v, %v", m, err)
	}
	m, _, err = send(t.Context(), c, call(t, "agent", `{"max_tokens":200,"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}}},"messages":[{"role":"user","content":"hi"}]}`))
	var n struct{ N *json.Number }
	if err != nil || json.Unmarshal([]byte(m.said()), &n) != nil || n.N == nil {
		t.Errorf("constrained by a schema: %+v, %v", m, err)
	}
}

// A prompt that does not fit is an error of the server, never a shortened prompt, and agents compact on its words.
func TestContractOverflow(t *testing.T) {
	o := testkit.RealOllama(t)
	c, _ := client(t, config.Provider{BaseURL: o.URL, NumCtx: 256})
	// 400 bytes of one run: not certain to be too long, so it is sent.
	long := `{"max_tokens":9,"stream":%t,"messages":[{"role":"user","content":"` + strings.Repeat("0123456789", 40) + `"}]}`
	for _, stream := range []bool{true, false} {
		_, _, err := send(t.Context(), c, call(t, "echo", fmt.Sprintf(long, stream)))
		if f := fault.From(err); f == nil || f.Kind != fault.ContextOverflow || !strings.HasPrefix(f.Message, "prompt is too long") {
			t.Errorf("stream %t: got %v", stream, err)
		}
	}
	if m, _, err := send(t.Context(), c, call(t, "echo", prompt(5))); err != nil || !strings.HasPrefix(m.said(), "word word") {
		t.Errorf("the next prompt: %+v, %v", m, err)
	}
}

// The window that the server uses is the one that we chose, it grows with a prompt, and it stays.
func TestContractWindow(t *testing.T) {
	o := testkit.RealOllama(t)
	c, _ := client(t, config.Provider{BaseURL: o.URL})
	used := func() float64 {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Get(o.URL + "/api/ps")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var ps struct {
			Models []struct {
				Name string
				Ctx  float64 `json:"context_length"`
			}
		}
		if err := json.NewDecoder(res.Body).Decode(&ps); err != nil {
			t.Fatal(err)
		}
		for _, m := range ps.Models {
			if m.Name == "coder:latest" {
				return m.Ctx
			}
		}
		return 0
	}
	// coder reads the last message alone, so the long system prompt costs no time; that it is long counts all the same.
	system := `"system":"` + strings.Repeat("rule ", 30_000) + `",`
	for i, want := range []float64{32768, 65536, 65536} {
		extra := ""
		if i == 1 {
			extra = system
		}
		m, _, err := send(t.Context(), c, call(t, "coder", `{"max_tokens":99,`+extra+`"messages":[{"role":"user","content":"hi"}]}`))
		if err != nil || m.said() != "You said: hi" {
			t.Fatalf("%+v, %v", m, err)
		}
		if got := used(); got != want {
			t.Errorf("request %d: the server uses a window of %v, want %v", i, got, want)
		}
	}
}

// A caller who hangs up frees the slot: the server answers one request at a time, and the next one does not wait for the end
// of an answer that nobody hears.
func TestContractHangUp(t *testing.T) {
	o := testkit.RealOllama(t)
	c, _ := client(t, config.Provider{BaseURL: o.URL})
	long := `{"max_tokens":1000,"stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("0123456789 ", 30) + `"}]}`
	// The first time the answer is heard to its end, the second time it is left. How long the end takes is measured, since it
	// depends on the machine.
	listen := func(frames int) (since time.Time) {
		reply, err := c.Send(t.Context(), call(t, "echo", long))
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Close()
		since = time.Now()
		for _, err := range reply.Frames {
			if err != nil {
				t.Fatal(err)
			}
			if frames--; frames == 0 {
				since = time.Now()
				break
			}
		}
		if u := reply.Usage(); u.Known != (frames != 0) {
			t.Errorf("usage of an answer that was left (%t) is %+v", frames == 0, u)
		}
		return since
	}
	whole := time.Since(listen(-1))
	left := listen(5)
	if _, _, err := send(t.Context(), c, call(t, "echo", prompt(1))); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(left); waited > max(whole*3/4, time.Second) {
		t.Errorf("the next answer took %v after the hang-up; an answer heard to its end takes %v", waited, whole)
	}
}

func TestContractSideRequests(t *testing.T) {
	o := testkit.RealOllama(t)
	c, _ := client(t, config.Provider{BaseURL: o.URL})
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
	models, err := c.Models(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range models {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	if !slices.Equal(ids, []string{"agent:latest", "coder:latest", "echo:latest"}) {
		t.Errorf("models: %v", ids)
	}
	about, err := c.cards.get(t.Context(), "coder")
	if err != nil || about.limit != 131072 || about.thinking != 2 || about.vision != 2 || about.levels {
		t.Errorf("coder: %+v, %v", about, err)
	}
}
