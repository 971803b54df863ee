package providers

import "signalbox/internal/wire"

// maxConceded bounds what is remembered: model names come from requests.
const maxConceded = 1024

// Conceding sends a request, and sends it once more with what the upstream's refusal says it must go without: a refusal of this
// kind comes before anything is done, and an answer without a token counts as one. What is the model's own way is remembered for
// the next request.
func (u *Upstream) Conceding(model string, can wire.Yield, send func(wire.Concessions) (*Reply, error)) (*Reply, error) {
	c := u.recall(model)
	for {
		reply, err := send(c)
		if err == nil || !c.After(err, can) {
			return reply, err
		}
		u.remember(model, c.Lasting())
	}
}

func (u *Upstream) recall(model string) wire.Concessions {
	u.conceded.Lock()
	defer u.conceded.Unlock()
	return u.conceded.models[model]
}

func (u *Upstream) remember(model string, c wire.Concessions) {
	if c == (wire.Concessions{}) {
		return
	}
	u.conceded.Lock()
	defer u.conceded.Unlock()
	if u.conceded.models == nil || len(u.conceded.models) >= maxConceded {
		u.conceded.models = map[string]wire.Concessions{}
	}
	u.conceded.models[model] = c
}
