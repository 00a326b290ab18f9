package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rowferry/rowferry/e2e/oracle"
)

// topicOf is where the pipeline puts a table.
func topicOf(table string) string { return "topics.public." + table }

// reader reads what is committed in topics, with another client library than Rowferry's.
func (d *demo) reader(topics ...string) (oracle.KafkaReader, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(d.kafka.Addr(), ",")...))
	if err != nil {
		return oracle.KafkaReader{}, fmt.Errorf("making a Kafka client: %w", err)
	}
	return oracle.KafkaReader{Client: client, Topics: topics}, nil
}

// topicHolds tells whether a record of a table's topic holds the text. Without Kafka there is nothing to wait for.
func (d *demo) topicHolds(ctx context.Context, table, text string) (bool, error) {
	if d.kafka == nil {
		return true, nil
	}
	reader, err := d.reader(topicOf(table))
	if err != nil {
		return false, err
	}
	defer reader.Client.Close()
	for record, err := range reader.Records(ctx) {
		if err != nil {
			return false, err
		}
		if bytes.Contains(record.Value, []byte(text)) {
			return true, nil
		}
	}
	return false, nil
}

// compareTopics writes what the topics hold into a file, as lines, and compares it as the file that is a target: the
// changes of a key are in one partition, in their order. It returns how many records and rows there were.
func (d *demo) compareTopics(ctx context.Context) (records, rows int64, err error) {
	path := filepath.Join(d.folder, "topics.jsonl")
	if err := d.writeTopics(ctx, path); err != nil {
		return 0, 0, err
	}
	return compareFile(ctx, d.shop, path)
}

func (d *demo) writeTopics(ctx context.Context, path string) error {
	var topics []string
	for _, t := range tables {
		topics = append(topics, topicOf(t.name))
	}
	reader, err := d.reader(topics...)
	if err != nil {
		return err
	}
	defer reader.Client.Close()
	// What was committed is seen for sure once no transaction is open.
	if err := reader.Settle(ctx); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing what the topics hold: %w", err)
	}
	defer f.Close()
	out := bufio.NewWriterSize(f, 1<<20)
	var envelopes oracle.Envelopes
	for record, err := range reader.Records(ctx) {
		if err != nil {
			return err
		}
		if record.Value == nil { // a tombstone, for compaction
			continue
		}
		plain, err := envelopes.Plain(record) // in Debezium's format, which is the default, with its schema
		if err != nil {
			return fmt.Errorf("reading record %d of %s: %w", record.Offset, record.Topic, err)
		}
		if _, err := out.Write(append(plain.Value, '\n')); err != nil {
			return fmt.Errorf("writing what the topics hold: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing what the topics hold: %w", err)
	}
	return nil
}
