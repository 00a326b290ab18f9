package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/rowferry/rowferry/e2e/oracle"
)

const (
	// between is the time from one look at the topics to the next, when looking is quick: else it is as long as a look
	// takes, so that one core is busy half of the time at most.
	between = 100 * time.Millisecond
	// readLimit bounds one look; a broker that was away is asked again by the next.
	readLimit = 20 * time.Second
)

// reader keeps a file as the topics of a pipeline are.
type reader struct {
	client   *kgo.Client
	pipeline string
	into     string
	parent   int              // the process it reads for
	seen     map[string]int64 // the end of each partition when the file was last written
}

// run reads again whenever there is more, until the parent is gone. What goes wrong is told once and tried again.
func (r *reader) run(ctx context.Context) error {
	told := ""
	for os.Getppid() == r.parent {
		began := time.Now()
		if err := r.look(ctx); err != nil && err.Error() != told {
			told = err.Error()
			fmt.Fprintln(os.Stderr, "reading from Kafka:", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(max(between, time.Since(began))):
		}
	}
	return nil
}

// look reads everything from the start when something was added, and writes the file anew.
func (r *reader) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	topics, err := r.topics(ctx)
	if err != nil || len(topics) == 0 {
		return err
	}
	ends, err := r.ends(ctx, topics)
	if err != nil || maps.Equal(ends, r.seen) {
		return err
	}
	text, err := r.read(ctx, topics)
	if err != nil {
		return err
	}
	if os.Getppid() != r.parent { // another may read for the next one
		return nil
	}
	if err := replace(r.into, text); err != nil {
		return err
	}
	r.seen = ends
	return nil
}

// topics lists the pipeline's topics, with the number of their partitions.
func (r *reader) topics(ctx context.Context) (map[string]int, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = nil // means all
	answer, err := request.RequestWith(ctx, r.client)
	if err != nil {
		return nil, fmt.Errorf("listing topics: %w", err)
	}
	topics := map[string]int{}
	for _, t := range answer.Topics {
		if t.Topic != nil && strings.HasPrefix(*t.Topic, r.pipeline+".") && kerr.ErrorForCode(t.ErrorCode) == nil {
			topics[*t.Topic] = len(t.Partitions)
		}
	}
	return topics, nil
}

// ends asks for every partition's last stable offset.
func (r *reader) ends(ctx context.Context, topics map[string]int) (map[string]int64, error) {
	request := kmsg.NewPtrListOffsetsRequest()
	request.IsolationLevel = 1
	for name, partitions := range topics {
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = name
		for n := range partitions {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = int32(n), -1
			topic.Partitions = append(topic.Partitions, p)
		}
		request.Topics = append(request.Topics, topic)
	}
	answer, err := request.RequestWith(ctx, r.client)
	if err != nil {
		return nil, fmt.Errorf("asking how far topics reach: %w", err)
	}
	ends := map[string]int64{}
	for _, topic := range answer.Topics {
		for _, p := range topic.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("asking how far partition %d of %s reaches: %w", p.Partition, topic.Topic, err)
			}
			ends[fmt.Sprintf("%s/%d", topic.Topic, p.Partition)] = p.Offset
		}
	}
	return ends, nil
}

// read gives the file's text. It is empty until the ledger says that the copy is complete: a copy that is killed
// begins anew, and changes made since it began come as copied rows then, which the driver would miss as changes.
func (r *reader) read(ctx context.Context, topics map[string]int) ([]byte, error) {
	ledger := r.pipeline + ".rowferry.ledger"
	names := slices.Sorted(maps.Keys(topics))
	names = slices.DeleteFunc(names, func(name string) bool { return name == ledger })
	if topics[ledger] == 0 || len(names) == 0 {
		return nil, nil
	}
	streaming := false
	for record, err := range (oracle.KafkaReader{Client: r.client, Topics: []string{ledger}}).Records(ctx) {
		if err != nil {
			return nil, err
		}
		if string(record.Key) == "position" {
			var position struct{ Phase string }
			if err := json.Unmarshal(record.Value, &position); err != nil {
				return nil, fmt.Errorf("reading the ledger's position: %w", err)
			}
			streaming = position.Phase == "stream"
		}
	}
	if !streaming {
		return nil, nil
	}
	a := assembly{partitions: topics}
	for record, err := range (oracle.KafkaReader{Client: r.client, Topics: names}).Records(ctx) {
		if err != nil {
			return nil, err
		}
		a.add(record)
	}
	return a.lines(), nil
}

// replace writes a file so that its readers find either the old text or the new one.
func replace(path string, text []byte) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, text, 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
