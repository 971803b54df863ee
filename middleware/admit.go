package middleware

import (
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"signalbox/internal/fault"
)

// Admit lets so many requests run at once and so many more wait; the rest is turned away at once, so that those who were
// admitted are served well.
func Admit(inflight, queue int, problem Problem, rejected func(reason string)) gin.HandlerFunc {
	places := make(chan struct{}, max(1, inflight))
	var waiting atomic.Int64
	return func(c *gin.Context) {
		select {
		case places <- struct{}{}:
		default:
			if waiting.Add(1) > int64(queue) {
				waiting.Add(-1)
				rejected("overload")
				problem(c, &fault.Error{Kind: fault.Overloaded, RetryAfter: time.Second, Message: "the gateway is serving as many requests as it may; try again in a moment"})
				c.Abort()
				return
			}
			select {
			case places <- struct{}{}:
				waiting.Add(-1)
			case <-c.Request.Context().Done():
				waiting.Add(-1)
				problem(c, fault.From(c.Request.Context().Err()))
				c.Abort()
				return
			}
		}
		defer func() { <-places }()
		c.Next()
	}
}
