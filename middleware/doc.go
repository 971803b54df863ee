// Package middleware is what every request passes, one concern a file. Each file offers functions that make a
// gin.HandlerFunc; the order in which a route passes them is written once, in routes/routes.go.
//
// Two things ride along with a request: its record (Record) and its parsed body (Request). Everything else is a parameter.
package middleware

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"signalbox/internal/exchange"
	"signalbox/internal/messages"
)

// keys of the gin context; private, so that only the accessors below reach them.
const (
	recordKey     = "signalbox.record"
	requestKey    = "signalbox.request"
	credentialKey = "signalbox.credential"
	bodyKey       = "signalbox.body"
)

// Record is the record of this exchange. RequestID must have run.
func Record(c *gin.Context) *exchange.Record { return c.MustGet(recordKey).(*exchange.Record) }

// Request is the parsed body. Validate must have run.
func Request(c *gin.Context) *messages.Request { return c.MustGet(requestKey).(*messages.Request) }

// Problem writes an error answer. It is routes/problem.go's, handed down so that the error table stands in one file.
type Problem func(c *gin.Context, err error)

// controller reaches the connection below gin's writer.
func controller(c *gin.Context) *http.ResponseController {
	return http.NewResponseController(c.Writer)
}
