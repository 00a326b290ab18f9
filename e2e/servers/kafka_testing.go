package servers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rowferry/rowferry/e2e/proxy"
)

// givenKafka names a Kafka that is used instead of the shared one.
const givenKafka = "ROWFERRY_TEST_KAFKA"

var sharedKafka = map[string]*Kafka{} // mu guards it

// KafkaForTest returns the one-broker Kafka of the version that the tests of this binary share, or the one that
// ROWFERRY_TEST_KAFKA=host:port names, whatever its version. It is started by the first call and ends with the test
// process. Tests keep apart by Prefix; one that kills brokers or needs settings takes a Kafka from StartKafkaForTest.
func KafkaForTest(tb testing.TB, version string) *Kafka {
	tb.Helper()
	mu.Lock()
	defer mu.Unlock()
	if k := sharedKafka[version]; k != nil {
		return k
	}
	k := &Kafka{given: os.Getenv(givenKafka)}
	if k.given == "" {
		var err error
		if k, err = StartKafka(tb.Context(), KafkaOptions{Version: version}); err != nil {
			tb.Fatal(err)
		}
	}
	k.shared = true
	sharedKafka[version] = k
	return k
}

// StartKafkaForTest starts a Kafka that is this test's own. It is removed at the test's end.
func StartKafkaForTest(tb testing.TB, o KafkaOptions) *Kafka {
	tb.Helper()
	k, err := StartKafka(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := k.Remove(); err != nil {
			tb.Errorf("removing Kafka: %v", err)
		}
	})
	return k
}

// Prefix is what this test's topics, transactional ids and groups begin with, so that no two tests share any. At the
// test's end the topics of a shared Kafka that begin with it are deleted.
func (k *Kafka) Prefix(tb testing.TB) string {
	tb.Helper()
	prefix := fmt.Sprintf("%s-%08x-", databaseName(tb.Name()), rand.Uint32())
	if k.shared {
		tb.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := k.deleteTopics(ctx, prefix); err != nil {
				tb.Errorf("deleting the topics of %s: %v", prefix, err)
			}
		})
	}
	return prefix
}

// ProxyForTest is Proxies for the length of a test. One test at a time can have the proxies of a shared Kafka; a given one
// has none, and the test is skipped.
func (k *Kafka) ProxyForTest(tb testing.TB) []*proxy.Proxy {
	tb.Helper()
	if k.given != "" {
		tb.Skip("a Kafka that was given sends its clients past any proxy")
	}
	proxies, err := k.Proxies()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		for _, p := range proxies {
			p.Close()
		}
	})
	return proxies
}

// Client returns a client that is closed at the test's end. It does not wait long before it tries again.
func (k *Kafka) Client(tb testing.TB, options ...kgo.Opt) *kgo.Client {
	tb.Helper()
	client, err := k.client(options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(client.Close)
	return client
}

func (k *Kafka) client(options ...kgo.Opt) (*kgo.Client, error) {
	all := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(k.Addr(), ",")...),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
	}
	client, err := kgo.NewClient(append(all, options...)...)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return client, nil
}
