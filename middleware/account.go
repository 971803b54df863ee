package middleware

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"signalbox/internal/exchange"
	"signalbox/internal/fault"
)

// Meter hears of exchanges.
type Meter interface {
	ObserveExchange(rec *exchange.Record, duration time.Duration)
	Inflight(delta float64)
}

// Account closes the record when the answer has ended and has it counted. Its attempts are in the ledger by then: dispatch
// settles each before the caller sees the end of the answer.
func Account(m Meter, now func() time.Time) gin.HandlerFunc {
	return func(c *gin.Context) {
		m.Inflight(1)
		rec := Record(c)
		returned := false
		defer func() {
			m.Inflight(-1)
			if !returned && rec.Err == nil {
				// A panic passes through on its way to Recover, which answers it.
				rec.Err = &fault.Error{Kind: fault.Internal, Outcome: "panic", Message: "Internal error"}
				rec.Status = http.StatusInternalServerError
			}
			if rec.Status == 0 {
				rec.Status = c.Writer.Status()
			}
			switch {
			case rec.Err != nil:
				f := fault.From(rec.Err)
				rec.Kind, rec.Outcome = f.Kind.String(), f.Label()
			case rec.Outcome == "":
				rec.Outcome = "ok"
			}
			m.ObserveExchange(rec, max(0, now().Sub(rec.Start)))
		}()
		c.Next()
		returned = true
	}
}
