package server

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/replicator/progress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHandler(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "rowferry_x", Help: "x"}))
	pipelines := func(states ...progress.State) progress.Report {
		r := progress.Report{Version: "1"}
		for i, s := range states {
			p := progress.Pipeline{Name: string(rune('a' + i)), State: s}
			if s == progress.Halted {
				p.Halt = &progress.Halt{Code: "source.slot_lost"}
			}
			r.Pipelines = append(r.Pipelines, p)
		}
		return r
	}
	tests := []struct {
		name, path, host, method string
		report                   progress.Report
		status                   int
		body                     string
	}{
		{name: "alive", path: "/livez", status: 200, body: "ok"},
		{name: "starting", path: "/readyz", report: pipelines(progress.Starting, progress.Streaming), status: 503, body: "a starting\nb streaming\n"},
		{name: "halted is listed", path: "/readyz", report: pipelines(progress.Halted, progress.Streaming), status: 200, body: "a halted source.slot_lost\n"},
		{name: "alias", path: "/healthz", report: pipelines(progress.Copying), status: 200, body: "a copying"},
		{name: "metrics", path: "/metrics", status: 200, body: "rowferry_x 0"},
		{name: "status", path: "/api/v1/status", report: pipelines(progress.Streaming), status: 200, body: `"state":"streaming"`},
		{name: "unknown", path: "/x", status: 404},
		{name: "only reads", path: "/api/v1/status", method: "POST", status: 405},
		{name: "another name", path: "/api/v1/status", host: "evil.example", status: 421},
		{name: "another name and port", path: "/metrics", host: "evil.example:7611", status: 421},
		{name: "localhost", path: "/livez", host: "localhost:7611", status: 200},
		{name: "IPv6", path: "/livez", host: "[::1]:7611", status: 200},
		{name: "a configured name", path: "/livez", host: "Metrics.Example:1", status: 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			method := tt.method
			if method == "" {
				method = "GET"
			}
			r := httptest.NewRequest(method, tt.path, nil)
			r.Host = "127.0.0.1:7611"
			if tt.host != "" {
				r.Host = tt.host
			}
			w := httptest.NewRecorder()
			Handler(func() progress.Report { return tt.report }, registry, "metrics.example").ServeHTTP(w, r)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.body) {
				t.Errorf("got %d %q, want %d %q", w.Code, w.Body.String(), tt.status, tt.body)
			}
		})
	}
}

func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	report := progress.Report{Version: "7", Pipelines: []progress.Pipeline{}}
	go func() {
		done <- Serve(ctx, l, Handler(func() progress.Report { return report }, prometheus.NewRegistry()))
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + l.Addr().String() + "/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	var got progress.Report
	if err != nil || json.Unmarshal(body, &got) != nil || got.Version != "7" {
		t.Errorf("got %s, %v", body, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
