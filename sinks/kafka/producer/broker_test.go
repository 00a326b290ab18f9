package producer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/sasl"

	"github.com/rowferry/rowferry/e2e/proxy"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/kafka/cluster"
)

// onBroker returns a broker of a version and a name nothing else uses, which topic and transactional id may begin with.
func onBroker(t *testing.T, version string) (b *bed, prefix string, k *servers.Kafka) {
	t.Helper()
	k = servers.KafkaForTest(t, version)
	return &bed{TB: t, seeds: strings.Split(k.Addr(), ",")}, k.Prefix(t), k
}

var versions = []string{servers.KafkaNewest, servers.KafkaOldest}

func TestBrokerTransactions(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			b, prefix, k := onBroker(t, version)
			k.CreateTopic(t, prefix+"t", 3)
			ctx := b.limit()
			p := b.producer(Config{TransactionalID: prefix + "x"})
			var want []string
			for i := range 30 {
				b.must(p.Produce(ctx, []Batch{one(prefix+"t", 0, fmt.Sprint(i)), one(prefix+"t", 2, fmt.Sprint(i)), one(prefix+"t", 0, "-")}))
				if i%3 == 1 {
					p = b.producer(Config{TransactionalID: prefix + "x"}) // aborts it
					continue
				}
				b.must(p.Commit(ctx))
				want = append(want, fmt.Sprint(i))
			}
			b.want(prefix+"t", "0: "+strings.Join(want, " - ")+" -", "2: "+strings.Join(want, " "))
		})
	}
}

// TestBrokerTakesRecordsOfTheNextTransactionOnlyAfterTheEnd is the trap of transactions: while the end of a transaction
// is being written, the broker takes batches of a partition that is not part of the next one yet, as part of the one
// that ends. Each committed transaction is followed at once by one that is aborted, and the other way round: a batch that
// was early would show up, or be missing.
func TestBrokerTakesRecordsOfTheNextTransactionOnlyAfterTheEnd(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			b, prefix, k := onBroker(t, version)
			const partitions = 8 // each has an end to be written
			k.CreateTopic(t, prefix+"t", partitions)
			ctx := b.limit()
			p := b.producer(Config{TransactionalID: prefix + "x"})
			var want []string
			for i := range 40 {
				value := fmt.Sprintf("%d-%v", i, i%2 == 0)
				var batches []Batch
				for number := range int32(partitions) {
					batches = append(batches, one(prefix+"t", number, value))
				}
				b.must(p.Produce(ctx, batches))
				if i%2 == 0 {
					b.must(p.Commit(ctx))
					want = append(want, value)
				} else {
					p = b.producer(Config{TransactionalID: prefix + "x"})
				}
			}
			var lines []string
			for number := range partitions {
				lines = append(lines, fmt.Sprintf("%d: %s", number, strings.Join(want, " ")))
			}
			b.want(prefix+"t", lines...)
		})
	}
}

func TestBrokerFencesTheOlderProducer(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			b, prefix, k := onBroker(t, version)
			k.CreateTopic(t, prefix+"t", 1)
			ctx := b.limit()
			old := b.producer(Config{TransactionalID: prefix + "x"})
			atEnd := b.producer(Config{TransactionalID: prefix + "y"})
			b.must(old.Produce(ctx, []Batch{one(prefix+"t", 0, "old")}))
			b.must(atEnd.Produce(ctx, []Batch{one(prefix+"t", 0, "old")}))
			young := b.producer(Config{TransactionalID: prefix + "x"})
			b.producer(Config{TransactionalID: prefix + "y"})
			for _, err := range []error{
				old.Produce(ctx, []Batch{one(prefix+"t", 0, "zombie")}),
				old.Init(ctx), // raises the epoch, which only the newest may
				atEnd.Commit(ctx),
			} {
				if fault.ClassOf(err) != fault.Fenced {
					t.Errorf("got %v, want fenced", err)
				}
			}
			b.must(young.Produce(ctx, []Batch{one(prefix+"t", 0, "young")}))
			b.must(young.Commit(ctx))
			b.want(prefix+"t", "0: young")
		})
	}
}

// TestBrokerAnOlderProducerLeavesItsSuccessorAlone has producers that were replaced raise their epoch, as after a
// failure, a long silence or a lost answer, while the successor's transaction is open. A broker that is asked to does not
// look at the epoch before it has aborted what is open.
func TestBrokerAnOlderProducerLeavesItsSuccessorAlone(t *testing.T) {
	tests := []struct {
		name  string
		raise func(ctx context.Context, old *Producer, topic string) error
	}{
		{"in doubt", func(ctx context.Context, old *Producer, _ string) error {
			old.state.phase = inDoubt
			return old.Init(ctx)
		}},
		{"in doubt before a partition was added", func(ctx context.Context, old *Producer, _ string) error {
			old.state.phase = inDoubt
			clear(old.state.added)
			return old.Init(ctx)
		}},
		{"after a long silence", func(ctx context.Context, old *Producer, topic string) error {
			old.state.ended()
			old.used = time.Time{}
			return old.Produce(ctx, []Batch{one(topic, 0, "zombie")})
		}},
	}
	for _, version := range versions {
		for _, tt := range tests {
			t.Run(version+", "+tt.name, func(t *testing.T) {
				b, prefix, k := onBroker(t, version)
				k.CreateTopic(t, prefix+"t", 1)
				ctx := b.limit()
				old := b.producer(Config{TransactionalID: prefix + "x"})
				b.must(old.Produce(ctx, []Batch{one(prefix+"t", 0, "old")}))
				young := b.producer(Config{TransactionalID: prefix + "x"})
				b.must(young.Produce(ctx, []Batch{one(prefix+"t", 0, "young")}))
				if err := tt.raise(ctx, old, prefix+"t"); fault.ClassOf(err) != fault.Fenced {
					t.Errorf("got %v, want fenced", err)
				}
				b.must(young.Commit(ctx))
				b.want(prefix+"t", "0: young")
			})
		}
	}
}

// TestBrokerAbortsWhatIsTooOld keeps a transaction open past its timeout.
func TestBrokerAbortsWhatIsTooOld(t *testing.T) {
	if testing.Short() {
		t.Skip("the broker looks for old transactions every ten seconds")
	}
	b, prefix, k := onBroker(t, servers.KafkaNewest)
	k.CreateTopic(t, prefix+"t", 1)
	ctx := b.limit()
	cfg := Config{TransactionalID: prefix + "x", TransactionTimeout: time.Second}
	p := b.producer(cfg)
	b.must(p.Produce(ctx, []Batch{one(prefix+"t", 0, "old")}))
	b.must(cluster.Pause(ctx, 14*time.Second))
	err := p.Commit(ctx)
	if f := fault.Of(err); f.Class != fault.Retryable || f.Code != "target.transaction_timeout" {
		t.Errorf("Commit: got %v (%s): %v", f.Class, f.Code, err)
	}
	q := b.producer(cfg)
	b.must(q.Produce(ctx, []Batch{one(prefix+"t", 0, "new")}))
	b.must(q.Commit(ctx))
	b.want(prefix+"t", "0: new")
}

// TestBrokerRenews raises the epoch as after a long silence or a lost answer, many times.
func TestBrokerRenews(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			b, prefix, k := onBroker(t, version)
			k.CreateTopic(t, prefix+"t", 1)
			ctx := b.limit()
			now := time.Now()
			p := b.producer(Config{TransactionalID: prefix + "x", Now: func() time.Time { return now }})
			var want []string
			seen := map[Session]bool{}
			for i := range 8 {
				b.must(p.Produce(ctx, []Batch{one(prefix+"t", 0, fmt.Sprint(i))}))
				b.must(p.Commit(ctx))
				seen[p.Session()] = true
				now = now.Add(2 * time.Hour)
				want = append(want, fmt.Sprint(i))
			}
			b.want(prefix+"t", "0: "+strings.Join(want, " "))
			if len(seen) != 8 {
				t.Errorf("got %d sessions, want 8", len(seen))
			}
		})
	}
}

// TestBrokerBehindABadNetwork resets connections again and again and lets each packet take its time. What was sent twice
// must be there once, in order, and whole transactions only; up to five batches of a partition are under way.
func TestBrokerBehindABadNetwork(t *testing.T) {
	k := servers.KafkaForTest(t, servers.KafkaNewest)
	prefix := k.Prefix(t)
	k.CreateTopic(t, prefix+"t", 2)
	b := &bed{TB: t, seeds: strings.Split(k.Addr(), ",")}
	network := k.ProxyForTest(t)
	network[0].Set(proxy.ToClient, proxy.Toxic{Delay: 10 * time.Millisecond})
	network[0].Set(proxy.ToServer, proxy.Toxic{Delay: 10 * time.Millisecond})
	ctx := b.limit()
	p := New(b.cluster(cluster.Config{Brokers: []string{k.AddrOf(servers.KafkaProxied)}}), Config{TransactionalID: prefix + "x"})
	b.must(p.Init(ctx))
	stop := make(chan struct{})
	resets := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(150 * time.Millisecond):
				network[0].Reset()
				resets++
			}
		}
	})
	var want []string
	first := p.Session()
	for i := range 40 {
		var batches []Batch
		for part := range 16 {
			value := fmt.Sprintf("%d.%d", i, part)
			batches = append(batches, one(prefix+"t", 0, value), one(prefix+"t", 1, value))
			want = append(want, value)
		}
		b.must(p.Produce(ctx, batches[:4]))
		b.must(p.Produce(ctx, batches[4:]))
		b.must(p.Commit(ctx))
	}
	close(stop)
	wg.Wait()
	b.want(prefix+"t", "0: "+strings.Join(want, " "), "1: "+strings.Join(want, " "))
	if resets == 0 || p.Session() == first {
		t.Errorf("%d resets, session still %+v", resets, first)
	}
}

// TestBrokersThatDie kills a broker that leads a partition, and starts it again, while transactions go on.
func TestBrokersThatDie(t *testing.T) {
	if testing.Short() {
		t.Skip("three brokers")
	}
	k := servers.StartKafkaForTest(t, servers.KafkaOptions{Brokers: 3})
	k.CreateTopic(t, "t", 3, "min.insync.replicas=2")
	b := &bed{TB: t, seeds: strings.Split(k.Addr(), ",")}
	ctx := b.long()
	p := b.producer(Config{TransactionalID: "x"})
	var want []string
	node := k.Leader(t, "t", 0)
	for i := range 20 {
		switch i {
		case 5:
			b.must(k.KillBroker(node))
		case 15:
			b.must(k.StartBroker(ctx, node))
		}
		value := fmt.Sprint(i)
		b.must(p.Produce(ctx, []Batch{one("t", 0, value), one("t", 1, value), one("t", 2, value)}))
		b.must(p.Commit(ctx))
		want = append(want, value)
	}
	all := strings.Join(want, " ")
	b.want("t", "0: "+all, "1: "+all, "2: "+all)
}

// TestBrokerLogins logs in by every mechanism, with and without TLS, with right and wrong passwords.
func TestBrokerLogins(t *testing.T) {
	k := servers.StartKafkaForTest(t, servers.KafkaOptions{Secure: true})
	k.CreateTopic(t, "t", 1)
	pem, err := os.ReadFile(k.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	mechanism := func(m sasl.Mechanism, err error) sasl.Mechanism {
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	token := func(context.Context) (cluster.Token, error) {
		return cluster.Token{Value: servers.OAuthToken(servers.KafkaUser, time.Hour)}, nil
	}
	expired := func(context.Context) (cluster.Token, error) {
		return cluster.Token{Value: servers.OAuthToken(servers.KafkaUser, -time.Hour)}, nil
	}
	tests := []struct {
		name     string
		listener servers.Listener
		sasl     sasl.Mechanism
		tls      *tls.Config
		code     string
	}{
		{"tls", servers.KafkaTLS, nil, &tls.Config{RootCAs: roots}, ""},
		{"tls of an unknown authority", servers.KafkaTLS, nil, &tls.Config{RootCAs: x509.NewCertPool()}, "target.tls"},
		{"plain", servers.KafkaSASL, cluster.Plain(servers.KafkaUser, servers.KafkaPassword), nil, ""},
		{"plain over tls", servers.KafkaSASLTLS, cluster.Plain(servers.KafkaUser, servers.KafkaPassword), &tls.Config{RootCAs: roots}, ""},
		{"plain, wrong", servers.KafkaSASL, cluster.Plain(servers.KafkaUser, "wrong"), nil, "target.auth"},
		{"scram-256", servers.KafkaSASL, mechanism(cluster.Scram256(servers.KafkaUser, servers.KafkaPassword)), nil, ""},
		{"scram-512", servers.KafkaSASLTLS, mechanism(cluster.Scram512(servers.KafkaUser, servers.KafkaPassword)), &tls.Config{RootCAs: roots}, ""},
		{"scram-512, wrong", servers.KafkaSASL, mechanism(cluster.Scram512(servers.KafkaUser, "wrong")), nil, "target.auth"},
		{"oauthbearer", servers.KafkaSASL, cluster.OAuthBearer(token), nil, ""},
		{"oauthbearer over tls", servers.KafkaSASLTLS, cluster.OAuthBearer(token), &tls.Config{RootCAs: roots}, ""},
		{"oauthbearer, expired", servers.KafkaSASL, cluster.OAuthBearer(expired), nil, "target.auth"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := &bed{TB: t, seeds: strings.Split(k.AddrOf(tt.listener), ",")}
			c := b.cluster(cluster.Config{SASL: tt.sasl, TLS: tt.tls})
			if tt.code != "" {
				_, err := c.Topics(b.limit(), "t")
				if got := fault.Of(err).Code; got != tt.code {
					t.Errorf("got %q, want %q: %v", got, tt.code, err)
				}
				return
			}
			p := New(c, Config{TransactionalID: "x"})
			b.must(p.Init(b.limit()))
			b.must(p.Produce(b.limit(), []Batch{one("t", 0, "a")}))
			b.must(p.Commit(b.limit()))
		})
	}
}
