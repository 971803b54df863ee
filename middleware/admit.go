package middleware

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"signalbox/internal/fault"
)

// Admit lets so many requests run at once and so many more wait; the rest is turned away at once, so that those who were
// admitted are served well. Who waits has been read to the end first, since a server that has not read all of a body never
// learns that its caller left; limit is the body's, in bytes.
func Admit(inflight, queue int, limit func() int64, problem Problem, rejected func(reason string)) gin.HandlerFunc {
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
			err := wait(c, places, limit())
			waiting.Add(-1)
			if err != nil {
				problem(c, err)
				c.Abort()
				return
			}
		}
		defer func() { <-places }()
		c.Next()
	}
}

// wait takes a place as soon as one is free. The error says why the caller no longer wants it.
func wait(c *gin.Context, places chan<- struct{}, limit int64) error {
	if _, err := Body(c, limit); err != nil {
		return err
	}
	ctx := c.Request.Context()
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.From(context.Cause(ctx))
	}
}
