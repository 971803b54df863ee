package middleware

import (
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"signalbox/internal/exchange"
)

// Names of our answer headers.
const (
	HeaderRequestID         = "X-Signalbox-Request-Id"
	HeaderUpstreamRequestID = "Request-Id"
)

// RequestID gives the request its name and begins its record. The name is in both id headers from the start, so that every
// answer carries it, whoever writes it.
func RequestID(now func() time.Time) gin.HandlerFunc {
	return func(c *gin.Context) {
		id, err := uuid.NewV7()
		if err != nil {
			id = uuid.New()
		}
		rec := &exchange.Record{RequestID: "req_" + id.String(), Start: now(), Route: c.FullPath()}
		c.Set(recordKey, rec)
		c.Writer.Header().Set(HeaderRequestID, rec.RequestID)
		c.Writer.Header().Set(HeaderUpstreamRequestID, rec.RequestID)
		c.Next()
	}
}
