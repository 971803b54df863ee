package responses

import (
	"encoding/base64"
	"strings"

	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// carryPrefix begins the signature of a thinking block that carries a reasoning item. Behind it stand the provider's name, a
// dot and the item in base64url: only the account that made an item can read it.
const carryPrefix = wire.CarryPrefix + "responses."

// maxCarry is the largest reasoning item that is carried, in bytes of JSON. A larger one is dropped whole: half of it would be
// refused.
const maxCarry = 4 << 20

// carried is a reasoning item as it will be sent back. Without encrypted content it is worth nothing to OpenAI, who looks its id
// up and finds nothing stored; other servers have the reasoning itself in its content, which OpenAI in turn refuses to get.
func carried(item gjson.Result) []byte {
	var id, summary, content, sealed gjson.Result
	item.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "id":
			id = f
		case "summary":
			summary = f
		case "content":
			content = f
		case "encrypted_content":
			sealed = f
		}
		return true
	})
	isSealed := sealed.Type == gjson.String && sealed.Str != ""
	hasContent := content.IsArray() && content.Get("0").Exists()
	if !isSealed && !hasContent {
		return nil
	}
	j := wire.NewJSON(len(item.Raw) + 16)
	j.Obj()
	j.Key("type")
	j.Str("reasoning")
	if id.Type == gjson.String {
		j.Key("id")
		j.Raw([]byte(id.Raw))
	}
	j.Key("summary") // required, be it empty
	if summary.IsArray() {
		j.Raw([]byte(summary.Raw))
	} else {
		j.Arr()
		j.EndArr()
	}
	if isSealed {
		j.Key("encrypted_content")
		j.Raw([]byte(sealed.Raw))
	} else {
		j.Key("content")
		j.Raw([]byte(content.Raw))
	}
	j.End()
	if len(j.Bytes()) > maxCarry {
		return nil
	}
	return j.Bytes()
}

func (q *Quirks) pack(item []byte) string {
	if len(item) == 0 {
		return ""
	}
	return carryPrefix + q.Provider + "." + base64.RawURLEncoding.EncodeToString(item)
}

// unpack gives the item behind a signature; nil when it is not ours, not this provider's, or not whole any more: the caller has
// had it in hand meanwhile.
func (q *Quirks) unpack(signature string) []byte {
	rest, ok := strings.CutPrefix(signature, carryPrefix+q.Provider+".")
	if !ok {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil || messages.Valid(b) != nil {
		return nil
	}
	if v := messages.View(b); !v.IsObject() || v.Get("type").String() != "reasoning" {
		return nil
	}
	return b
}
