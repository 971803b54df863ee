package middleware

import (
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"
)

// AccessLog writes one line for each exchange. Probes and scrapes are lines of level debug.
func AccessLog(log logrus.FieldLogger, now func() time.Time) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Next()
		rec := Record(c)
		took := max(0, now().Sub(rec.Start))
		status := rec.Status
		if status == 0 {
			status = c.Writer.Status()
		}
		f := logrus.Fields{"request_id": rec.RequestID, "route": rec.Route, "method": c.Request.Method, "status": status, "duration_ms": took.Milliseconds()}
		if rec.Kind != "" {
			f["kind"] = rec.Kind
		}
		if rec.Err != nil && (status >= 500 || rec.Kind == "internal") {
			f["error"] = rec.Err.Error()
		}
		if rec.Provider == "" && len(rec.Attempts) == 0 && rec.AskedModel == "" {
			if status < 400 {
				log.WithFields(f).Debug("request")
			} else {
				log.WithFields(f).Info("request")
			}
			return
		}
		u := rec.Usage()
		cost, priced := rec.Cost()
		f["provider"], f["model"], f["asked_model"] = rec.Provider, rec.Model, rec.AskedModel
		f["lane"], f["attempts"], f["stream"] = string(rec.Lane), len(rec.Attempts), rec.Stream
		f["input_tokens"], f["output_tokens"] = u.Input, u.Output
		f["cache_read_tokens"], f["cache_write_tokens"] = u.CacheRead, u.CacheWrite5m+u.CacheWrite1h
		f["cost_nanousd"] = int64(cost)
		if !priced {
			f["cost_nanousd"] = nil
		}
		f["first_frame_ms"] = rec.FirstFrame.Milliseconds()
		for k, v := range map[string]string{"agent": rec.Agent, "key_id": rec.Key, "fallback": rec.Fallback, "dropped": strings.Join(rec.Dropped, ","), "upstream_request_id": rec.UpstreamID} {
			if v != "" {
				f[k] = v
			}
		}
		log.WithFields(f).Info("exchange")
	}
}
