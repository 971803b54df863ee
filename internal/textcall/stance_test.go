package textcall

import "testing"

// What the line in front of a candidate says decides whether it is a call, and whether a tag is one with prose behind it.
func TestStance(t *testing.T) {
	for line, want := range map[string]stance{
		"":                                  acts,
		"Let me read package.json first.":   acts,
		"I'll check the JSON config file:":  acts,
		"I’ll check the template’s syntax:": acts,
		"The test failed with this output: x. Let me read the file.":        acts,
		"The user wants the JSON formatted. I'll read the file.":            acts,
		"**Step 1.** I need to see the schema:":                             acts,
		"Next, I should open the example config:":                           acts,
		"Let me see what the function returns:":                             acts,
		"Reading the JSON file:":                                            acts,
		"Je vais lire le fichier package.json.":                             acts,
		"让我看看 JSON 文件。":                                                     acts,
		"Reading package.json:":                                             acts,
		"See src/example.go:":                                               tells,
		"The log line was":                                                  shows,
		"Sure, I can help with that.":                                       tells,
		"The user wants me to update the JSON schema.":                      tells,
		"2. Update the schema":                                              tells,
		"- package.json, the format":                                        tells,
		"- The JSON format:":                                                shows,
		"Here is the JSON.":                                                 shows,
		"This is the format of a call.":                                     shows,
		"The model answered:":                                               shows,
		"I wrote this file:":                                                shows,
		"The user sent a file.":                                             tells,
		"The login page:":                                                   tells,
		"For example:":                                                      shows,
		"Here is the JSON you asked for:":                                   shows,
		"I'll show you an example:":                                         shows,
		"Let me explain the format:":                                        shows,
		"Let me write down how such a call would look:":                     shows,
		"I'll answer in JSON:":                                              shows,
		"Let me know if this JSON works:":                                   shows,
		"Let's say the model writes:":                                       shows,
		"I would call Read with:":                                           shows,
		"You should use the Read tool:":                                     shows,
		"To read a file you can write":                                      shows,
		"Reading the file returned:":                                        shows,
		"Reading it looks like this:":                                       shows,
		"// the call":                                                       shows,
		"The answer has this shape:":                                        shows,
		"An intent, let me see, e.g. this:":                                 shows,
		"Eine JSON-Datei, zum Beispiel:":                                    shows,
		"The format is known. I will read the sample to learn more of it: ": acts,
	} {
		var p prose
		for _, c := range []byte(line + "\n\n") {
			p.byte(c)
		}
		if got := p.stance(); got != want {
			t.Errorf("%q: got %d, want %d", line, got, want)
		}
	}
	for line, want := range map[string]bool{
		"":                            true,
		"Reading the file.":           true,
		"I will wrap it in XML tags:": true,
		"- Read the file":             true,
		"It came from there:":         false,
		"In the Hermes protocol the model wraps its calls in XML.": false,
	} {
		var p prose
		for _, c := range []byte(line + "\n") {
			p.byte(c)
		}
		if got := p.goesOn(); got != want {
			t.Errorf("%q: a tag with prose behind it: got %t, want %t", line, got, want)
		}
	}
	for line, want := range map[string]bool{
		"":                                  true,
		"Sure, I can help with that.":       true,
		"I'll look at the file:":            true,
		"Tool: Read":                        true,
		"Calling Read:":                     true,
		"Reading /a.go now":                 true,
		"Here's my next step:":              true,
		"Read the file:":                    true,
		"文件在这里。":                            true,
		"The request looks right:":          false,
		"Your config file should have this": false,
		"The stored message is:":            false,
	} {
		var p prose
		for _, c := range []byte(line + "\n") {
			p.byte(c)
		}
		if got := p.leads(); got != want {
			t.Errorf("%q: JSON behind it: got %t, want %t", line, got, want)
		}
	}
}
