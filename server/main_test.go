package server

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestMain gives names that end in .test to a name server of our own, and proves that nothing is left running.
func TestMain(m *testing.M) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go nameServer(pc)
	system := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("signalbox/server.nameServer"), goleak.Cleanup(func(code int) {
		net.DefaultResolver = system
		_ = pc.Close()
		os.Exit(code)
	}))
}

// nameServer knows two.test, whose first address answers nobody, and slow.test, about which it never says anything. Every other
// name does not exist.
func nameServer(pc net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		q := buf[:n]
		if n < 17 {
			continue
		}
		var labels []string
		end := 12
		for end < n && q[end] != 0 {
			labels = append(labels, string(q[end+1:end+1+int(q[end])]))
			end += 1 + int(q[end])
		}
		end += 5
		name, kind := strings.ToLower(strings.Join(labels, ".")), q[end-3]
		r := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
		switch {
		case strings.HasPrefix(name, "slow.test"):
			continue
		case strings.HasPrefix(name, "two.test") && kind == 1:
			r[7] = 2
			for _, ip := range [][]byte{{127, 0, 0, 99}, {127, 0, 0, 1}} {
				r = append(append(r, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4), ip...)
			}
		case strings.HasPrefix(name, "two.test"):
		default:
			r[3] = 0x83
		}
		_, _ = pc.WriteTo(r, from)
	}
}
