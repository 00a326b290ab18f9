package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/kafka/batch"
	"github.com/rowferry/rowferry/sinks/kafka/producer"
	"github.com/rowferry/rowferry/sinks/kafka/topic"
)

// keep stores values too large for a record, before the records that refer to them are sent. A value is named by its
// SHA-256, so that storing it again changes nothing.
func (w *writer) keep(ctx context.Context, claims []claim) error {
	if len(claims) == 0 {
		return nil
	}
	if dir := w.sink.cfg.ClaimCheck.Path; dir != "" {
		for i := range claims {
			if err := storeFile(dir, &claims[i]); err != nil {
				return fault.Wait("target.claim_check", fmt.Errorf("keeping a value of %d bytes: %w", len(claims[i].value), err))
			}
		}
		return nil
	}
	return w.storeRecords(ctx, claims)
}

// storeFile writes a value into a folder, whole or not at all.
func storeFile(dir string, c *claim) error {
	path := filepath.Join(dir, c.id+".json")
	if info, err := os.Stat(path); err == nil && info.Size() == int64(len(c.value)) {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(dir, ".claim-*")
	if err != nil {
		return err
	}
	_, err = f.Write(c.value)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// storeRecords produces values into the topic of claim checks, inside the transaction.
func (w *writer) storeRecords(ctx context.Context, claims []claim) error {
	cfg := &w.sink.cfg
	name := cfg.ClaimCheck.Topic
	spec := cfg.spec(name, nil)
	spec.Configs = map[string]string{"max.message.bytes": fmt.Sprint(int64(cfg.ClaimCheck.MaxMessage))}
	if err := w.ensure(ctx, []topic.Spec{spec}); err != nil {
		return err
	}
	n := (*w.encoder.layout.Load())[name]
	compressor, err := batch.NewCompressor(cfg.Compression)
	if err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	for i := range claims {
		c := &claims[i]
		var b batch.Builder
		b.Append(&batch.Record{Key: []byte(c.id), Value: c.value, Timestamp: now})
		one := batch.Batch(b.AppendTo(nil, compressor))
		if one.Size() > int(cfg.ClaimCheck.MaxMessage) {
			return fault.Record("target.record_too_large",
				fmt.Errorf("a value of %d bytes is larger than claim_check.max_message (%s)", len(c.value), cfg.ClaimCheck.MaxMessage), remedyOversize)
		}
		err := w.producer.Produce(ctx, []producer.Batch{{Topic: name, Partition: topic.Partition([]byte(c.id), n), Batch: one}})
		if err != nil {
			return err
		}
	}
	return nil
}
