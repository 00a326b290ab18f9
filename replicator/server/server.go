// Package server answers over HTTP what a daemon says of itself: /metrics, /livez, /readyz, /healthz and
// /api/v1/status. It only reads.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rowferry/rowferry/replicator/progress"
)

// Handler answers from report and metrics; both are asked for each request.
//
// A page in a browser may not read what a daemon on loopback says by giving its own name that address (DNS
// rebinding): requests have to name an address, localhost, or one of hosts.
func Handler(report func() progress.Report, metrics prometheus.Gatherer, hosts ...string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok\n") })
	ready := func(w http.ResponseWriter, _ *http.Request) { readiness(w, report()) }
	mux.HandleFunc("GET /readyz", ready)
	mux.HandleFunc("GET /healthz", ready)
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		// A client that went away is no error of ours.
		_ = json.NewEncoder(w).Encode(report())
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !named(r.Host, hosts) {
			text(w, http.StatusMisdirectedRequest, "this address is not served under that name\n")
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

// named tells whether a Host header names this server.
func named(host string, hosts []string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" || net.ParseIP(host) != nil {
		return true
	}
	return slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// readiness is 503 while any pipeline is starting; halted ones are listed and leave the daemon ready, so that
// nothing restarts it for them.
func readiness(w http.ResponseWriter, r progress.Report) {
	status, body := http.StatusOK, ""
	for _, p := range r.Pipelines {
		if p.State == progress.Starting {
			status = http.StatusServiceUnavailable
		}
		body += p.Name + " " + string(p.State)
		if p.Halt != nil {
			body += " " + p.Halt.Code
		}
		body += "\n"
	}
	if body == "" {
		body = "no pipelines\n"
	}
	text(w, status, body)
}

func text(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

// Serve answers on the listener until ctx ends, then closes it.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 60 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serving HTTP: %w", err)
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := s.Shutdown(bounded); err != nil {
		_ = s.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving HTTP: %w", err)
	}
	return nil
}
