package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/addpartitionstotxn"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/endtxn"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
)

// channel is one connection to a broker, made when it is needed and again after it broke. Requests take turns.
type channel struct {
	cfg     *Config
	address string
	turn    chan struct{} // who puts something in has the turn
	lost    *atomic.Int64 // connections of the cluster

	// What follows belongs to who has the turn.
	link  *link
	quiet time.Time // the broker asked for silence until then

	mu   sync.Mutex // guards what follows, and closing a link
	open *link      // the same as link, for shut
	gone bool
}

// link is a connection that is ready for requests.
type link struct {
	conn     *protocol.Conn
	versions map[protocol.ApiKey]versionRange
	chosen   map[protocol.ApiKey]int16 // the newest both know
	expires  time.Time                 // of the login; zero: never
	sent     int32                     // requests of pipelines: the number of the next
}

// roundTrip sends one request and reads its answer.
func (ch *channel) roundTrip(ctx context.Context, req protocol.Message) (protocol.Message, error) {
	if err := ch.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer ch.endTurn()
	if err := ch.ready(ctx); err != nil {
		return nil, err
	}
	if err := ch.link.supports(req.ApiKey(), ch.address); err != nil {
		return nil, err
	}
	res, err := ch.link.exchange(ctx, ch.cfg.RequestTimeout, req)
	if err != nil {
		ch.drop()
		return nil, ch.broken(ctx, fmt.Sprintf("awaiting the answer to %v", req.ApiKey()), err)
	}
	ch.heed(res)
	return res, nil
}

func (ch *channel) takeTurn(ctx context.Context) error {
	select {
	case ch.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (ch *channel) endTurn() { <-ch.turn }

// expired tells whether the login has to be renewed.
func (ch *channel) expired() bool {
	return ch.link != nil && !ch.link.expires.IsZero() && time.Now().After(ch.link.expires)
}

// ready keeps the silence the broker asked for, and connects if need be.
func (ch *channel) ready(ctx context.Context) error {
	if err := ch.keepQuiet(ctx); err != nil {
		return err
	}
	if ch.expired() {
		ch.drop()
	}
	if ch.link != nil {
		return nil
	}
	l, err := ch.connect(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return connectError(ch.address, err)
	}
	ch.link = l
	return nil
}

// broken is the error of a connection that failed while something was done.
func (ch *channel) broken(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return connectError(ch.address, fmt.Errorf("%s: %w", what, err))
}

// heed notes how long an answer asks us to be silent.
func (ch *channel) heed(res protocol.Message) {
	if d := throttle(res); d > 0 {
		ch.quiet = time.Now().Add(d)
	}
}

// keepQuiet waits as long as the broker asked for silence. A broker that asks does not read from the connection in
// that time; a request sent meanwhile would use up its own time limit.
func (ch *channel) keepQuiet(ctx context.Context) error {
	d := time.Until(ch.quiet)
	if d <= 0 {
		return nil
	}
	return Pause(ctx, d)
}

// drop ends the connection.
func (ch *channel) drop() {
	if ch.link != nil {
		ch.lost.Add(1)
		_ = ch.link.conn.Close()
	}
	ch.mu.Lock()
	ch.link, ch.open = nil, nil
	ch.mu.Unlock()
}

// shut ends the connection for good, from outside.
func (ch *channel) shut() {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.gone = true
	if ch.open != nil {
		_ = ch.open.conn.Close()
	}
}

// connect opens a connection, agrees on versions and logs in.
func (ch *channel) connect(ctx context.Context) (_ *link, err error) {
	ctx, cancel := context.WithTimeout(ctx, ch.cfg.DialTimeout)
	defer cancel()
	raw, err := ch.cfg.Dial(ctx, "tcp", ch.address)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			raw.Close()
		}
	}()
	if ch.cfg.TLS != nil {
		cfg := ch.cfg.TLS
		if cfg.ServerName == "" {
			host, _, _ := net.SplitHostPort(ch.address)
			cfg = cfg.Clone()
			cfg.ServerName = host
		}
		secure := tls.Client(raw, cfg)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("agreeing on TLS: %w", err)
		}
		raw = secure
	}
	l := &link{conn: protocol.NewConn(raw, ch.cfg.ClientID)}
	if err := l.negotiate(ctx, ch.cfg.DialTimeout); err != nil {
		return nil, err
	}
	if ch.cfg.SASL != nil {
		l.expires, err = l.login(ctx, ch.cfg.DialTimeout, ch.address, ch.cfg.SASL)
		if err != nil {
			return nil, err
		}
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.gone {
		return nil, net.ErrClosed
	}
	ch.open = l
	return l, nil
}

// exchange sends a request and reads the answer. After an error the connection cannot be used on.
func (l *link) exchange(ctx context.Context, limit time.Duration, req protocol.Message) (res protocol.Message, err error) {
	err = l.bounded(ctx, limit, func() (err error) {
		res, err = l.conn.RoundTrip(req)
		return err
	})
	return res, err
}

// bounded does I/O until a time limit or the end of ctx.
func (l *link) bounded(ctx context.Context, limit time.Duration, io func() error) error {
	deadline := time.Now().Add(limit)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	_ = l.conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(time.Unix(1, 0)) })
	err := io()
	if !stop() && err == nil {
		err = context.Cause(ctx) // the deadline may be cut short at any moment from now on
	}
	return err
}

// versionRange is what a broker speaks of one API.
type versionRange struct{ min, max int16 }

// negotiate asks the broker for the versions it speaks and settles on the newest both know.
func (l *link) negotiate(ctx context.Context, limit time.Duration) error {
	msg, err := l.exchange(ctx, limit, &apiversions.Request{})
	if err != nil {
		return fmt.Errorf("asking for API versions: %w", err)
	}
	res := msg.(*apiversions.Response)
	if res.ErrorCode != 0 {
		return fmt.Errorf("asking for API versions: %w", kafka.Error(res.ErrorCode))
	}
	l.versions = make(map[protocol.ApiKey]versionRange, len(res.ApiKeys))
	l.chosen = make(map[protocol.ApiKey]int16, len(res.ApiKeys))
	for _, r := range res.ApiKeys {
		key := protocol.ApiKey(r.ApiKey)
		l.versions[key] = versionRange{min: r.MinVersion, max: r.MaxVersion}
		l.chosen[key] = min(key.MaxVersion(), r.MaxVersion)
	}
	l.conn.SetVersions(l.chosen)
	return nil
}

// supports tells whether broker and client have a version of an API in common. What the library sends otherwise is
// refused at best.
func (l *link) supports(key protocol.ApiKey, address string) error {
	r, ok := l.versions[key]
	if ok && r.min <= key.MaxVersion() && r.max >= key.MinVersion() {
		return nil
	}
	return versionError(address, key, r, ok)
}

// throttle is how long a response asks us to be silent.
func throttle(msg protocol.Message) time.Duration {
	var ms int32
	switch res := msg.(type) {
	case *produce.Response:
		ms = res.ThrottleTimeMs
	case *addpartitionstotxn.Response:
		ms = res.ThrottleTimeMs
	case *endtxn.Response:
		ms = res.ThrottleTimeMs
	case *initproducerid.Response:
		ms = res.ThrottleTimeMs
	case *metadata.Response:
		ms = res.ThrottleTimeMs
	case *fetch.Response:
		ms = res.ThrottleTimeMs
	}
	return time.Duration(ms) * time.Millisecond
}

// Pause waits, or ends with the context's cause.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// errSilent is the cause of a request given up because the broker did not answer in time.
var errSilent = errors.New("the broker did not answer in time")
