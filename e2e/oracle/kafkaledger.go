package oracle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// KafkaLedger is the [Ledger] in a topic. It reads on from where it was, so it is for one pipeline's life and has one
// user. Close closes the client.
type KafkaLedger struct {
	Client *kgo.Client
	Topic  string

	at    *KafkaPartition // nil while it is not known who leads
	next  int64
	token string
}

// settling bounds the wait for transactions that were open when the ledger was asked.
const settling = 5 * time.Second

// Token implements [Ledger]. A commit is answered before readers see it, so every transaction that is open at first is
// waited for; when one stays open, as that of a writer that was killed, there is no answer but an error.
func (l *KafkaLedger) Token(ctx context.Context) (string, error) {
	err := l.settle(ctx)
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return "", nil
	case err == nil && l.at.Stable > l.next:
		p := *l.at
		p.Start = max(p.Start, l.next)
		l.reader().read(ctx, p, func(record *kgo.Record, failed error) bool {
			if err = failed; err == nil {
				err = l.take(record)
			}
			return err == nil
		})
	}
	if err != nil {
		stable := int64(-1)
		if l.at != nil {
			stable = l.at.Stable
		}
		l.at = nil
		return "", fmt.Errorf("reading the ledger up to %d of %d: %w", l.next, stable, err)
	}
	l.next = max(l.next, l.at.Stable)
	return l.token, nil
}

func (l *KafkaLedger) reader() KafkaReader {
	return KafkaReader{Client: l.Client, Topics: []string{l.Topic}}
}

// settle asks how far the ledger reaches, and waits until readers see all of that.
func (l *KafkaLedger) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	reader := l.reader()
	if l.at == nil {
		partitions, err := reader.Partitions(ctx)
		if err != nil {
			return err
		}
		if len(partitions) != 1 {
			return fmt.Errorf("topic %s has %d partitions", l.Topic, len(partitions))
		}
		l.at = &partitions[0]
	}
	var err error
	if l.at.Written, err = reader.offset(ctx, *l.at, latest, 0); err != nil {
		return err
	}
	for {
		if l.at.Stable, err = reader.offset(ctx, *l.at, latest, 1); err != nil || l.at.Stable >= l.at.Written {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// take sees one record.
func (l *KafkaLedger) take(record *kgo.Record) error {
	l.next = record.Offset + 1
	if string(record.Key) != "position" {
		return nil
	}
	var value struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(record.Value, &value); err != nil {
		return fmt.Errorf("reading the ledger at %d: %w", record.Offset, err)
	}
	l.token = value.Token
	return nil
}

// Close implements [Ledger].
func (l *KafkaLedger) Close() { l.Client.Close() }
