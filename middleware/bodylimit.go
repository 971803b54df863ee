package middleware

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"

	"signalbox/internal/fault"
)

// How long a caller may take to send a body: a base, and a second more for each 64 KiB that came.
const (
	bodyBase  = 30 * time.Second
	bodyStep  = 64 << 10
	firstRead = 64 << 10

	bodyFarewell = time.Second
)

// Body reads a request's body to its end before anything waits: a server that has not read all of a body never learns that
// its caller left. The errors are *fault.Error: TooLarge at once by Content-Length or at the limit, BodyTimeout when it comes
// too slowly.
// It may be called again: the body is kept with the request.
func Body(c *gin.Context, limit int64) ([]byte, error) {
	if v, ok := c.Get(bodyKey); ok {
		return v.([]byte), nil
	}
	body, err := readBody(c, limit)
	if err == nil {
		c.Set(bodyKey, body)
	}
	return body, err
}

func readBody(c *gin.Context, limit int64) ([]byte, error) {
	r := c.Request
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	rc := controller(c)
	deadline := time.Now().Add(bodyBase)
	_ = rc.SetReadDeadline(deadline)
	size := int64(4096)
	if r.ContentLength >= 0 {
		size = min(r.ContentLength, 4<<20) // a length is a promise, not a reason to allocate
	}
	buf := make([]byte, 0, size+1)
	for next := int64(bodyStep); ; {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Body.Read(buf[len(buf):min(cap(buf), len(buf)+firstRead*4)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return nil, tooLarge(limit)
		}
		if err == io.EOF {
			// The deadline must not outlive the body: the server's watch for a leaving caller reads on.
			_ = rc.SetReadDeadline(time.Time{})
			return buf, nil
		}
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) {
				return nil, fault.New(fault.BodyTimeout, "the request body did not arrive in time")
			}
			return nil, fault.Wrap(fault.Canceled, err, "the caller left before the body was complete")
		}
		for ; int64(len(buf)) >= next; next += bodyStep {
			deadline = deadline.Add(time.Second)
			_ = rc.SetReadDeadline(deadline)
		}
	}
}

// LeaveBody is for answers that are given before the request's body was read to its end. Without it net/http first waits for
// the rest of the body, as long as it may take; so the connection ends with the answer, and the rest has a moment to come.
func LeaveBody(c *gin.Context) {
	if _, read := c.Get(bodyKey); read || c.Request.Body == nil || c.Request.Body == http.NoBody {
		return
	}
	c.Writer.Header().Set("Connection", "close")
	_ = controller(c).SetReadDeadline(time.Now().Add(bodyFarewell))
}

func tooLarge(limit int64) error {
	return fault.New(fault.TooLarge, "the request body is larger than %d bytes", limit)
}
