package middleware

import (
	"errors"
	"reflect"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/go-playground/validator/v10"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
)

// check is the one shared validator; its errors name the JSON field.
var check = func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		return name
	})
	return v
}()

// Ask is what a route demands of its body.
type Ask uint8

// The two kinds of bodies.
const (
	ForMessage Ask = iota // needs max_tokens
	ForCount              // does not
)

// Validate reads the body once, in one scan, and holds its envelope against what every upstream would refuse; Request then
// gives it. limit is in bytes. The model may be missing: routing asks for it when nothing else names one. It is no
// gin.HandlerFunc because under a path prefix only the handler knows what it was asked for. The errors are *fault.Error.
func Validate(c *gin.Context, ask Ask, limit int64) error {
	body, err := Body(c, limit)
	if err != nil {
		return err
	}
	req, err := messages.ParseRequest(body)
	if err != nil {
		return err
	}
	rec := Record(c)
	rec.AskedModel, rec.Stream, rec.InputBytes = word(req.Model()), req.Stream() && ask == ForMessage, int64(len(body))
	rec.Session = word(c.Request.Header.Get("X-Claude-Code-Session-Id"))
	if err := envelope(req, ask); err != nil {
		return err
	}
	c.Set(requestKey, req)
	return nil
}

// word bounds what a caller may have us write into the log and the book.
func word(s string) string {
	const most = 256
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func envelope(req *messages.Request, ask Ask) error {
	e := req.Envelope()
	if req.Member("messages") == nil {
		return fault.New(fault.Invalid, "messages: is required: an array with at least one message")
	}
	if req.Member("model") != nil && e.Model == "" {
		return fault.New(fault.Invalid, "model: must not be empty")
	}
	skip := []string{"Model"}
	if ask == ForCount {
		skip = append(skip, "MaxTokens")
	}
	var bad validator.ValidationErrors
	if err := check.StructExcept(e, skip...); errors.As(err, &bad) {
		switch f := bad[0]; f.Field() {
		case "messages":
			return fault.New(fault.Invalid, "messages: at least one message is required")
		case "max_tokens":
			if f.Tag() == "required" {
				return fault.New(fault.Invalid, "max_tokens: is required: the most tokens the answer may have")
			}
			return fault.New(fault.Invalid, "max_tokens: must be 0 or more")
		default:
			return fault.New(fault.Invalid, "%s: fails %s", f.Field(), f.Tag())
		}
	}
	return nil
}
