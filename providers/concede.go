package providers

import "signalbox/internal/wire"

// maxConceded bounds what is remembered: model names come from requests.
const maxConceded = 1024

// Conceding sends a request, and sends it once more with what the upstream's refusal says it must go without: a refusal of this
// kind comes before anything is done, and an answer without a token counts as one. What a model's most output is, is
// remembered for the next request; state is given back again, since the next conversation has its own.
func (u *Upstream) Conceding(model string, send func(wire.Concessions) (*Reply, error)) (*Reply, error) {
	c := wire.Concessions{MaxOutput: u.mostOutput(model)}
	for {
		reply, err := send(c)
		if err == nil || !c.After(err) {
			return reply, err
		}
		if c.MaxOutput > 0 {
			u.rememberOutput(model, c.MaxOutput)
		}
	}
}

func (u *Upstream) mostOutput(model string) int64 {
	u.conceded.Lock()
	defer u.conceded.Unlock()
	return u.conceded.output[model]
}

func (u *Upstream) rememberOutput(model string, n int64) {
	u.conceded.Lock()
	defer u.conceded.Unlock()
	if u.conceded.output == nil || len(u.conceded.output) >= maxConceded {
		u.conceded.output = map[string]int64{}
	}
	u.conceded.output[model] = n
}
