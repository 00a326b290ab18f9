package servers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/rowferry/rowferry/e2e/proxy"
)

// write puts a record into partition 0, and waits for every replica.
func write(ctx context.Context, client *kgo.Client, topic, value string) error {
	return client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr()
}

// mustWrite is write, within the time that brokers need to find each other again.
func mustWrite(t *testing.T, client *kgo.Client, topic, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := write(ctx, client, topic, value); err != nil {
		t.Fatalf("writing %s to %s: %v", value, topic, err)
	}
}

// values reads n records of a topic.
func values(t *testing.T, k *Kafka, topic string, n int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := k.Client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var got []string
	for len(got) < n {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("reading %s: got %q in time, want %d records", topic, got, n)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	return strings.Join(got, " ")
}

func TestKafkaPrefixDeletesTopics(t *testing.T) {
	k := KafkaForTest(t, KafkaNewest)
	var topic string
	t.Run("use", func(t *testing.T) {
		topic = k.Prefix(t) + "events"
		k.CreateTopic(t, topic, 3, "max.message.bytes=2000")
		mustWrite(t, k.Client(t), topic, "kept")
		if got := values(t, k, topic, 1); got != "kept" {
			t.Errorf("got %q, want kept", got)
		}
		k.AddPartitions(t, topic, 5)
		if got := k.Leader(t, topic, 4); got != 1 && k.given == "" {
			t.Errorf("got leader %d of a partition that was added, want 1", got)
		}
	})
	if got := k.Leader(t, topic, 0); got != -1 {
		t.Errorf("got leader %d of a topic after its test, want none", got)
	}
	if err := write(t.Context(), k.Client(t, kgo.UnknownTopicRetries(0)), topic, "x"); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("got %v when writing to it, want an unknown topic", err)
	}
}

func TestKafkaQuota(t *testing.T) {
	k := KafkaForTest(t, KafkaNewest)
	topic := k.Prefix(t) + "events"
	k.CreateTopic(t, topic, 1)
	k.LimitClient(t, topic, 20_000)
	throttled := make(chan time.Duration, 100)
	client := k.Client(t, kgo.ClientID(topic), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.WithHooks(throttleHook(throttled)))
	err := poll(30*time.Second, "a client above its limit to be throttled", func() bool {
		mustWrite(t, client, topic, strings.Repeat("x", 100_000))
		return len(throttled) > 0
	})
	if err != nil {
		t.Error(err)
	}
	k.LimitClient(t, topic, 0)
}

type throttleHook chan time.Duration

func (h throttleHook) OnBrokerThrottle(_ kgo.BrokerMetadata, d time.Duration, _ bool) {
	select {
	case h <- d:
	default: // enough of them
	}
}

func TestKafkaProxy(t *testing.T) {
	k := KafkaForTest(t, KafkaNewest)
	topic := k.Prefix(t) + "events"
	k.CreateTopic(t, topic, 1)
	p := k.ProxyForTest(t)[0]
	client := k.Client(t, kgo.SeedBrokers(k.AddrOf(KafkaProxied)), kgo.ProducerLinger(0))
	mustWrite(t, client, topic, "one")
	if p.Connections() == 0 {
		t.Error("got a client that was sent past the proxy")
	}
	const delay = 200 * time.Millisecond
	p.Set(proxy.ToServer, proxy.Toxic{Delay: delay})
	start := time.Now()
	mustWrite(t, client, topic, "two")
	if took := time.Since(start); took < delay {
		t.Errorf("got an answer after %s, want %s at least", took, delay)
	}
	// What the broker has, it has, though its answer is lost.
	p.Set(proxy.ToServer, proxy.Toxic{})
	p.Set(proxy.ToClient, proxy.Toxic{CutAfter: 1})
	mustWrite(t, client, topic, "three")
	if got := values(t, k, topic, 3); got != "one two three" {
		t.Errorf("got %q, want each once", got)
	}
	p.Refuse(true)
	p.Reset()
	refused := k.Client(t, kgo.SeedBrokers(k.AddrOf(KafkaProxied)), kgo.RetryTimeout(time.Second))
	if err := refused.Ping(t.Context()); err == nil {
		t.Error("got through a proxy that refuses")
	}
}

func TestKafkaRestartAndKillKeepTheData(t *testing.T) {
	k := StartKafkaForTest(t, KafkaOptions{})
	topic := k.Prefix(t) + "events"
	k.CreateTopic(t, topic, 1)
	client := k.Client(t, kgo.ProducerBatchCompression(kgo.NoCompression()))
	mustWrite(t, client, topic, "one")
	if err := k.KillBroker(1); err != nil {
		t.Fatal(err)
	}
	if err := k.StartBroker(t.Context(), 1, "message.max.bytes=1000"); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, client, topic, "two")
	if err := write(t.Context(), client, topic, strings.Repeat("x", 2000)); !errors.Is(err, kerr.MessageTooLarge) {
		t.Errorf("got %v for a record above the new limit, want it to be too large", err)
	}
	if got := values(t, k, topic, 2); got != "one two" {
		t.Errorf("got %q after a crash, want both", got)
	}
	pid := k.brokers[0].process.Pid
	if err := errors.Join(k.PauseBroker(1), k.ResumeBroker(1), k.StopBroker(1)); err != nil {
		t.Fatal(err)
	}
	if !exists(filepath.Join(k.Dir, "nodes/1/data/.kafka_cleanshutdown")) {
		t.Errorf("got a broker that did not end in order:\n%s", k.Log(1))
	}
	if err := k.Remove(); err != nil {
		t.Fatal(err)
	}
	if alive(pid) || exists(k.Dir) {
		t.Errorf("got something left: process %v, folder %v", alive(pid), exists(k.Dir))
	}
}

func TestKafkaOldest(t *testing.T) {
	k := StartKafkaForTest(t, KafkaOptions{Version: KafkaOldest})
	topic := k.Prefix(t) + "events"
	k.CreateTopic(t, topic, 1)
	mustWrite(t, k.Client(t), topic, "one")
	if got := values(t, k, topic, 1); got != "one" {
		t.Errorf("got %q, want one", got)
	}
}

func TestKafkaSecurity(t *testing.T) {
	k := StartKafkaForTest(t, KafkaOptions{Secure: true})
	topic := k.Prefix(t) + "events"
	k.CreateTopic(t, topic, 1)
	pem, err := os.ReadFile(k.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	encrypted := kgo.DialTLSConfig(&tls.Config{RootCAs: roots})
	tests := []struct {
		name     string
		listener Listener
		options  []kgo.Opt
	}{
		{"TLS", KafkaTLS, []kgo.Opt{encrypted}},
		{"PLAIN", KafkaSASL, []kgo.Opt{kgo.SASL(plain.Auth{User: KafkaUser, Pass: KafkaPassword}.AsMechanism())}},
		{"SCRAM-SHA-256", KafkaSASL, []kgo.Opt{kgo.SASL(scramAuth(KafkaPassword).AsSha256Mechanism())}},
		{"SCRAM-SHA-512", KafkaSASL, []kgo.Opt{kgo.SASL(scramAuth(KafkaPassword).AsSha512Mechanism())}},
		{"OAUTHBEARER", KafkaSASL, []kgo.Opt{kgo.SASL(oauth.Auth{Token: OAuthToken(KafkaUser, time.Hour)}.AsMechanism())}},
		{"SCRAM-SHA-512 over TLS", KafkaSASLTLS, []kgo.Opt{encrypted, kgo.SASL(scramAuth(KafkaPassword).AsSha512Mechanism())}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client := k.Client(t, append(test.options, kgo.SeedBrokers(k.AddrOf(test.listener)))...)
			mustWrite(t, client, topic, test.name)
		})
	}
	for name, wrong := range map[string]sasl.Mechanism{
		"password": scramAuth("wrong").AsSha256Mechanism(),
		"token":    oauth.Auth{Token: OAuthToken(KafkaUser, -time.Hour)}.AsMechanism(),
	} {
		client := k.Client(t, kgo.SASL(wrong), kgo.SeedBrokers(k.AddrOf(KafkaSASL)), kgo.RetryTimeout(time.Second))
		if err := client.Ping(t.Context()); err == nil {
			t.Errorf("got in with a wrong %s", name)
		}
	}
	k.DenyWrites(t, topic)
	client := k.Client(t, kgo.SASL(scramAuth(KafkaPassword).AsSha256Mechanism()), kgo.SeedBrokers(k.AddrOf(KafkaSASL)))
	err = await(t.Context(), func() (bool, error) { // brokers hear of it a moment later
		err := write(t.Context(), client, topic, "forbidden")
		return errors.Is(err, kerr.TopicAuthorizationFailed), nil
	})
	if err != nil {
		t.Errorf("waiting for writes to be forbidden: %v", err)
	}
}

func scramAuth(password string) scram.Auth { return scram.Auth{User: KafkaUser, Pass: password} }

func TestKafkaOfThreeMovesLeaders(t *testing.T) {
	started := time.Now()
	k := StartKafkaForTest(t, KafkaOptions{Brokers: 3})
	t.Logf("starting took %s", time.Since(started).Round(time.Millisecond))
	topic := k.Prefix(t) + "events"
	k.CreateTopic(t, topic, 1)
	client := k.Client(t)
	mustWrite(t, client, topic, "one")
	next := k.Leader(t, topic, 0)%3 + 1
	k.MoveLeader(t, topic, 0, next)
	mustWrite(t, client, topic, "two")
	if err := k.KillBroker(next); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, client, topic, "three")
	if got := k.Leader(t, topic, 0); got == next || got < 0 {
		t.Errorf("got leader %d after broker %d was killed, want another", got, next)
	}
	if err := k.StartBroker(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	k.MoveLeader(t, topic, 0, next)
	mustWrite(t, client, topic, "four")
	if got := values(t, k, topic, 4); got != "one two three four" {
		t.Errorf("got %q, want all four in order", got)
	}
}

func TestGivenKafka(t *testing.T) {
	t.Setenv(givenKafka, "broker:9092")
	mu.Lock()
	kept := sharedKafka[KafkaNewest]
	delete(sharedKafka, KafkaNewest)
	mu.Unlock()
	k := KafkaForTest(t, KafkaNewest)
	mu.Lock()
	sharedKafka[KafkaNewest] = kept
	mu.Unlock()
	if got := k.Addr(); got != "broker:9092" {
		t.Errorf("got %s, want broker:9092", got)
	}
	if k.KillBroker(1) == nil || k.StartBroker(t.Context(), 1) == nil || k.Remove() != nil {
		t.Error("got a Kafka that was given killed, want it left alone")
	}
}

func TestKafkaEndsWithItsProcess(t *testing.T) {
	dir, pid := startChild(t, "kafka")
	err := poll(20*time.Second, "the watchdog", func() bool { return !alive(pid) && !exists(dir) })
	if err != nil {
		t.Error(err)
	}
}

func kafkaChild() {
	k, err := StartKafka(context.Background(), KafkaOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(k.Dir, k.brokers[0].process.Pid)
}
