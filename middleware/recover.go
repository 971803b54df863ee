package middleware

import (
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"

	"signalbox/internal/fault"
)

// Recover turns a panic into an api_error and one log line with the stack. Gin's own recovery would print the request's
// headers, keys among them.
func Recover(log logrus.FieldLogger, problem Problem, count func()) gin.HandlerFunc {
	return func(c *gin.Context) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			rec := Record(c)
			count()
			if p == http.ErrAbortHandler { //nolint:errorlint // net/http's own sentinel, compared as net/http does
				panic(p)
			}
			log.WithFields(logrus.Fields{"request_id": rec.RequestID, "method": c.Request.Method, "route": c.FullPath(),
				"panic": fmt.Sprintf("%T", p), "stack": string(debug.Stack())}).Error("panic in a handler")
			err := fault.New(fault.Internal, "Internal error")
			rec.Err, rec.Kind = err, err.Kind.String()
			problem(c, err)
		}()
		c.Next()
	}
}
