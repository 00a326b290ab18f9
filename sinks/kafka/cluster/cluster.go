package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/sasl"
)

// Config says how to reach a cluster. Zero values stand for the defaults.
type Config struct {
	Brokers        []string       // host:port, asked in this order until one answers
	ClientID       string         // as brokers' logs, metrics and quotas name us
	TLS            *tls.Config    // nil: without; an empty ServerName stands for the broker's host
	SASL           sasl.Mechanism // nil: without
	DialTimeout    time.Duration  // connecting, TLS and login; 10 seconds
	RequestTimeout time.Duration  // of one request, counted from when it is written; 15 seconds
	MetadataAge    time.Duration  // after which metadata is asked for again; 5 minutes
	// Dial opens connections; nil stands for a plain net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// lane is what a connection is for. Records have their own, so that nothing waits behind a large request but
// another one.
type lane int

const (
	control lane = iota
	records
	lanes
)

// Cluster is one Kafka cluster. Its methods may be called side by side.
type Cluster struct {
	cfg  Config
	lost atomic.Int64

	// mu guards what follows; nothing is sent while it is held.
	mu           sync.Mutex
	closed       bool
	layout       protocol.Cluster
	wanted       map[string]bool // topics to ask metadata for
	asked        time.Time       // of the layout; zero when there is none
	answered     string          // the address that told the layout
	brokers      map[string]*broker
	coordinators map[coordinator]int32
	throttled    time.Duration
}

// broker holds the connections to one address. It outlives them.
type broker struct{ lanes [lanes]*channel }

// coordinator names a group or a transactional id.
type coordinator struct {
	key  string
	kind kafka.CoordinatorKeyType
}

// New makes a cluster; nothing is sent before the first call.
func New(cfg Config) *Cluster {
	cfg.DialTimeout = cmp.Or(cfg.DialTimeout, 10*time.Second)
	cfg.RequestTimeout = cmp.Or(cfg.RequestTimeout, 15*time.Second)
	cfg.MetadataAge = cmp.Or(cfg.MetadataAge, 5*time.Minute)
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	return &Cluster{
		cfg: cfg, wanted: map[string]bool{}, brokers: map[string]*broker{},
		coordinators: map[coordinator]int32{},
	}
}

// Close ends all connections. Calls under way end with an error.
func (c *Cluster) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, b := range c.brokers {
		for _, ch := range b.lanes {
			ch.shut()
		}
	}
	return nil
}

// Client is kafka-go's client on this cluster, for topics, configurations and offsets. Its timeouts are those of
// the context and of Config.
func (c *Cluster) Client() *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(c.cfg.Brokers...), Transport: c}
}

// Lost is how many connections were lost so far. While it stays the same, no broker we talk to was started again.
func (c *Cluster) Lost() int64 { return c.lost.Load() }

// RequestTimeout is how long a request may take.
func (c *Cluster) RequestTimeout() time.Duration { return c.cfg.RequestTimeout }

// Throttled is for how long brokers have asked us to be silent so far, because of quotas.
func (c *Cluster) Throttled() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.throttled
}

// channel returns the connection of a kind to an address, connected or not.
func (c *Cluster) channel(address string, l lane) (*channel, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, net.ErrClosed
	}
	b := c.brokers[address]
	if b == nil {
		b = &broker{}
		for i := range b.lanes {
			b.lanes[i] = &channel{cfg: &c.cfg, address: address, turn: make(chan struct{}, 1), lost: &c.lost}
		}
		c.brokers[address] = b
	}
	return b.lanes[l], nil
}

// send sends a request to one address.
func (c *Cluster) send(ctx context.Context, address string, l lane, req protocol.Message) (protocol.Message, error) {
	ch, err := c.channel(address, l)
	if err != nil {
		return nil, err
	}
	return c.sendOn(ctx, ch, req)
}

// sendOn sends a request on a connection.
func (c *Cluster) sendOn(ctx context.Context, ch *channel, req protocol.Message) (protocol.Message, error) {
	res, err := ch.roundTrip(ctx, req)
	if err != nil {
		return nil, err
	}
	c.heed(res)
	return res, nil
}

// heed counts what an answer costs in patience.
func (c *Cluster) heed(res protocol.Message) {
	if d := throttle(res); d > 0 {
		c.mu.Lock()
		c.throttled += d
		c.mu.Unlock()
	}
}

// closeGone ends the connections to brokers the layout no longer names. mu is held.
func (c *Cluster) closeGone() {
	named := map[string]bool{}
	for _, address := range c.cfg.Brokers {
		named[address] = true
	}
	for _, b := range c.layout.Brokers {
		named[addressOf(b)] = true
	}
	for address, b := range c.brokers {
		if named[address] {
			continue
		}
		for _, ch := range b.lanes {
			ch.shut()
		}
		delete(c.brokers, address)
	}
}
