package cluster

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/rowferry/rowferry/schema/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake starts brokers in this process with topic "t" of six partitions, and connects to them.
func fake(t *testing.T, cfg Config, options ...kfake.Opt) (*kfake.Cluster, *Cluster, context.Context) {
	t.Helper()
	k, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3), kfake.SeedTopics(6, "t")}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	if cfg.Brokers == nil {
		cfg.Brokers = k.ListenAddrs()
	}
	c := New(cfg)
	t.Cleanup(func() { c.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return k, c, ctx
}

func TestTopics(t *testing.T) {
	k, c, ctx := fake(t, Config{MetadataAge: time.Nanosecond})
	topics, err := c.Topics(ctx, "t", "absent")
	if err != nil {
		t.Fatal(err)
	}
	if len(topics[0].Leaders) != 6 || topics[0].Error != nil || !errors.Is(topics[1].Error, kafka.UnknownTopicOrPartition) {
		t.Errorf("got %+v", topics)
	}
	if c.Leader("t", 3) != k.LeaderFor("t", 3) || c.Leader("t", 6) != NoLeader {
		t.Errorf("leaders: got %d and %d", c.Leader("t", 3), c.Leader("t", 6))
	}
	// Partitions are added while we run.
	_, err = c.Client().CreatePartitions(ctx, &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: "t", Count: 8, TopicPartitionAssignments: []kafka.TopicPartitionAssignment{}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if topics, err = c.Topics(ctx, "t"); err != nil || len(topics[0].Leaders) != 8 {
		t.Errorf("got %+v, %v; want 8 partitions", topics, err)
	}
	c.Forget("t")
	if c.Leader("t", 3) != NoLeader {
		t.Error("a forgotten topic has a leader")
	}
}

// TestClient lets kafka-go's client work: requests for the controller, for leaders, for coordinators, in parts.
func TestClient(t *testing.T) {
	_, c, ctx := fake(t, Config{})
	client := c.Client()
	made, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: "new", NumPartitions: 4, ReplicationFactor: 1}},
	})
	if err != nil || made.Errors["new"] != nil {
		t.Fatalf("CreateTopics: %+v, %v", made, err)
	}
	offsets, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		"t":   {kafka.LastOffsetOf(0), kafka.LastOffsetOf(1), kafka.LastOffsetOf(2), kafka.LastOffsetOf(3)},
		"new": {kafka.LastOffsetOf(0)},
	}})
	if err != nil || len(offsets.Topics["t"]) != 4 || offsets.Topics["new"][0].Error != nil {
		t.Errorf("ListOffsets: %+v, %v", offsets, err)
	}
	configs, err := client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: "t"}},
	})
	if err != nil || len(configs.Resources) != 1 {
		t.Errorf("DescribeConfigs: %+v, %v", configs, err)
	}
	fetched, err := client.Fetch(ctx, &kafka.FetchRequest{Topic: "t", Partition: 2, MinBytes: 1, MaxBytes: 1000, MaxWait: time.Millisecond})
	if err != nil || fetched.Error != nil {
		t.Errorf("Fetch: %+v, %v", fetched, err)
	}
	found, err := client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: "g", Topics: map[string][]int{"t": {0}}})
	if err != nil || !errors.Is(found.Error, kafka.GroupIdNotFound) { // the coordinator's answer
		t.Errorf("OffsetFetch: %+v, %v", found, err)
	}
}

func TestBrokersThatAreGone(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	k, err := kfake.NewCluster(kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	_, c, ctx := fake(t, Config{Brokers: append([]string{dead.Addr().String()}, k.ListenAddrs()...)})
	if topics, err := c.Topics(ctx, "t"); err != nil || len(topics[0].Leaders) != 1 {
		t.Errorf("got %+v, %v", topics, err)
	}
	_, c, ctx = fake(t, Config{Brokers: []string{dead.Addr().String()}})
	_, err = c.Topics(ctx, "t")
	if f := fault.Of(err); f.Code != "target.connect" || !f.Endless || !strings.Contains(err.Error(), dead.Addr().String()) {
		t.Errorf("got %+v: %v", f, err)
	}
	if _, err := New(Config{}).Topics(ctx, "t"); err == nil {
		t.Error("no broker at all: got no error")
	}
}

// TestSilentBroker takes connections and says nothing.
func TestSilentBroker(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	defer func() { listener.Close(); <-done }()
	_, c, ctx := fake(t, Config{Brokers: []string{listener.Addr().String()}, DialTimeout: 50 * time.Millisecond})
	_, err = c.Topics(ctx, "t")
	if f := fault.Of(err); f.Code != "target.connect" || !errors.Is(err, errSilent) {
		t.Errorf("got %+v: %v", f, err)
	}
	short, cancel := context.WithCancel(ctx)
	time.AfterFunc(20*time.Millisecond, cancel)
	_, c, _ = fake(t, Config{Brokers: []string{listener.Addr().String()}})
	begun := time.Now()
	if _, err := c.Topics(short, "t"); !errors.Is(err, context.Canceled) || time.Since(begun) > 5*time.Second {
		t.Errorf("cancelled: got %v after %v", err, time.Since(begun))
	}
}

// TestVersionsThatDoNotMeet finds a broker that has given up what this program speaks.
func TestVersionsThatDoNotMeet(t *testing.T) {
	for name, change := range map[string]func(*kmsg.ApiVersionsResponseApiKey) bool{
		"too new": func(k *kmsg.ApiVersionsResponseApiKey) bool { k.MinVersion = k.MaxVersion; return k.MaxVersion > 8 },
		"too old": func(k *kmsg.ApiVersionsResponseApiKey) bool { return false },
	} {
		t.Run(name, func(t *testing.T) {
			k, c, ctx := fake(t, Config{})
			k.ControlKey(int16(kmsg.ApiVersions), func(req kmsg.Request) (kmsg.Response, error, bool) {
				k.KeepControl()
				res := req.ResponseKind().(*kmsg.ApiVersionsResponse)
				for _, key := range []int16{3, 22, 18} {
					r := kmsg.NewApiVersionsResponseApiKey()
					r.ApiKey, r.MaxVersion = key, 13
					if key == 3 && !change(&r) {
						continue
					}
					res.ApiKeys = append(res.ApiKeys, r)
				}
				return res, nil, true
			})
			_, err := c.Topics(ctx, "t")
			if f := fault.Of(err); f.Class != fault.Terminal || f.Code != "target.broker_version" {
				t.Errorf("got %+v: %v", f, err)
			}
		})
	}
}

func TestQuotaIsKept(t *testing.T) {
	k, c, ctx := fake(t, Config{}, kfake.NumBrokers(1))
	const pause = 300 * time.Millisecond
	k.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		res := req.ResponseKind().(*kmsg.MetadataResponse)
		res.ThrottleMillis = int32(pause.Milliseconds())
		host, port, _ := net.SplitHostPort(k.ListenAddrs()[0])
		b := kmsg.NewMetadataResponseBroker()
		b.Host = host
		for _, digit := range port {
			b.Port = b.Port*10 + digit - '0'
		}
		res.Brokers = append(res.Brokers, b)
		return res, nil, true
	})
	if err := c.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := c.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begun); d < pause*9/10 {
		t.Errorf("the next request was sent after %v, want %v", d, pause)
	}
	if c.Throttled() != pause {
		t.Errorf("Throttled: got %v, want %v", c.Throttled(), pause)
	}
}

func TestCoordinatorIsKept(t *testing.T) {
	k, c, ctx := fake(t, Config{})
	lookups := k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Observe: true, Count: -1})
	client := c.Client()
	for range 3 {
		res, err := client.InitProducerID(ctx, &kafka.InitProducerIDRequest{TransactionalID: "x", ProducerID: -1, ProducerEpoch: -1, TransactionTimeoutMs: 1000})
		if err != nil || res.Error != nil {
			t.Fatalf("got %+v, %v", res, err)
		}
	}
	if lookups.Hits() != 1 {
		t.Errorf("looked %d times, want once", lookups.Hits())
	}
	c.ForgetCoordinator("x", kafka.CoordinatorKeyTypeTransaction)
	k.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.CoordinatorNotAvailable})
	_, err := client.InitProducerID(ctx, &kafka.InitProducerIDRequest{TransactionalID: "x", ProducerID: -1, ProducerEpoch: -1, TransactionTimeoutMs: 1000})
	if !errors.Is(err, kafka.GroupCoordinatorNotAvailable) {
		t.Errorf("got %v, want the coordinator's error", err)
	}
}

// TestLoginIsRenewed gives logins that end, and counts connections.
func TestLoginIsRenewed(t *testing.T) {
	var dials atomic.Int64
	k, c, ctx := fake(t, Config{
		SASL: Plain("u", "p"),
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}, kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", "p"))
	for range 3 {
		if err := c.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if dials.Load() != 1 {
		t.Errorf("%d connections, want 1", dials.Load())
	}
	c.mu.Lock()
	ch := c.brokers[k.ListenAddrs()[0]].lanes[control]
	c.mu.Unlock()
	ch.link.expires = time.Now().Add(-time.Second)
	if err := c.Refresh(ctx); err != nil || dials.Load() != 2 {
		t.Errorf("%d connections, %v; want 2", dials.Load(), err)
	}
	now := time.Now()
	if got := expiry(now, 100_000); got.Sub(now) != 80*time.Second || !expiry(now, 0).IsZero() {
		t.Errorf("expiry: got %v", got.Sub(now))
	}
}

func TestOAuthBearer(t *testing.T) {
	m := OAuthBearer(func(context.Context) (Token, error) {
		return Token{Value: "abc", Extensions: map[string]string{"b": "2", "a": "1"}}, nil
	})
	session, first, err := m.Start(t.Context())
	if want := "n,,\x01auth=Bearer abc\x01a=1\x01b=2\x01\x01"; string(first) != want || err != nil || m.Name() != "OAUTHBEARER" {
		t.Errorf("got %q, %v; want %q", first, err, want)
	}
	if done, _, err := session.Next(t.Context(), nil); !done || err != nil {
		t.Errorf("no challenge: got %v, %v", done, err)
	}
	if done, out, err := session.Next(t.Context(), []byte(`{"status":"invalid_token"}`)); done || string(out) != "\x01" || err != nil {
		t.Errorf("a challenge: got %v, %q, %v", done, out, err)
	}
	for _, token := range []Token{{}, {Value: "a\x01auth=Bearer b"}} {
		m := OAuthBearer(func(context.Context) (Token, error) { return token, nil })
		if _, _, err := m.Start(t.Context()); err == nil {
			t.Errorf("%q: got no error", token.Value)
		}
	}
}

func TestClosed(t *testing.T) {
	_, c, ctx := fake(t, Config{})
	if err := c.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := c.Refresh(ctx); err == nil {
		t.Error("got no error after Close")
	}
}

func TestClassify(t *testing.T) {
	tests := []struct {
		err   error
		code  string
		class fault.Class
	}{
		{io.EOF, "target.connect", fault.Retryable},
		{kafka.TopicAuthorizationFailed, "target.acl", fault.Terminal},
		{kafka.TransactionalIDAuthorizationFailed, "target.acl", fault.Terminal},
		{kafka.SASLAuthenticationFailed, "target.auth", fault.Terminal},
		{kafka.MessageSizeTooLarge, "target.record_too_large", fault.Terminal},
		{kafka.UnsupportedVersion, "target.broker_version", fault.Terminal},
		{kafka.InvalidTransactionTimeout, "target.transaction_timeout_refused", fault.Terminal},
		{kafka.UnknownTopicOrPartition, "target.topic_missing", fault.Retryable},
		{kafka.NotEnoughReplicas, "target.replicas", fault.Retryable},
		{kafka.ThrottlingQuotaExceeded, "target.quota", fault.Retryable},
		{kafka.NotCoordinatorForGroup, "target.cluster_moving", fault.Retryable},
		{kafka.OutOfOrderSequenceNumber, "target.transaction_lost", fault.Retryable},
		{kafka.InvalidProducerEpoch, "target.fenced", fault.Fenced},
		{kafka.InvalidConfiguration, "target.request_refused", fault.Terminal},
	}
	documented := map[string]bool{"target.fenced": true} // by the engine
	for _, c := range Codes {
		documented[c.Name] = true
		if c.Title == "" || c.Meaning == "" || c.DataLost == "" || c.Remedy == "" {
			t.Errorf("%s lacks a text", c.Name)
		}
	}
	for _, tt := range tests {
		f := fault.Of(Classify(tt.err))
		if f.Code != tt.code || f.Class != tt.class {
			t.Errorf("%v: got %s (%v), want %s (%v)", tt.err, f.Code, f.Class, tt.code, tt.class)
		}
		if !documented[f.Code] {
			t.Errorf("%s is not documented", f.Code)
		}
		if f.Class == fault.Terminal && f.Remedy == "" {
			t.Errorf("%s halts without a remedy", f.Code)
		}
	}
	for _, err := range []error{nil, context.Canceled, Classify(io.EOF)} {
		if got := Classify(err); got != err {
			t.Errorf("%v: got %v, want it as it is", err, got)
		}
	}
}

// TestEveryCodeHasAReaction goes through the library's codes: what waits in Classify must also be repeated, and the
// other way round.
func TestEveryCodeHasAReaction(t *testing.T) {
	for code := kafka.Error(-1); code <= TransactionAbortable; code++ {
		if code == 0 {
			continue
		}
		reaction := React(code)
		f := fault.Of(Classify(code))
		waits := reaction == Repeat || reaction == Relocate
		if f.Endless != waits {
			t.Errorf("%d %s: reaction %d, endless %v", code, code.Title(), reaction, f.Endless)
		}
		if (f.Class == fault.Terminal) != (reaction == Fail) {
			t.Errorf("%d %s: reaction %d, class %v", code, code.Title(), reaction, f.Class)
		}
	}
}
