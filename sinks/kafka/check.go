package kafka

import (
	"context"
	"fmt"
	"strings"

	"github.com/rowferry/rowferry/schema"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/kafka/cluster"
	"github.com/rowferry/rowferry/sinks/kafka/topic"
)

// Check looks at the cluster, the ledger and the topics of tables. It changes nothing, and so does not find out
// whether the transactional id may be used.
func (s *Sink) Check(ctx context.Context, tables []*schema.Table) ([]schema.Finding, error) {
	k, err := s.cfg.connect()
	if err != nil {
		return []schema.Finding{finding("settings", "", err)}, nil
	}
	defer func() { _ = k.Close() }()
	if err := k.Refresh(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return []schema.Finding{finding("connection", "", cluster.Classify(err))}, nil
	}
	findings := []schema.Finding{
		finding("connection", strings.TrimPrefix(s.cfg.URL, "kafka://")+" answers", nil),
		s.checkLedger(ctx, k),
	}
	more, err := s.checkTopics(ctx, k, tables)
	return append(findings, more...), err
}

// checkLedger looks for the ledger's topic.
func (s *Sink) checkLedger(ctx context.Context, k *cluster.Cluster) schema.Finding {
	name := s.cfg.Ledger.Topic
	state, found, err := s.inspect(ctx, k, s.rt.Pipeline)
	switch {
	case err != nil:
		return finding("ledger", "", err)
	case !found && s.cfg.CreateTopics.Enabled:
		return finding("ledger", "topic "+name+" is not there yet and will be made", nil)
	case !found:
		return finding("ledger", "", topic.Missing([]topic.Spec{s.ledgerSpec()}))
	case state.Position.IsZero():
		return finding("ledger", "topic "+name+" holds nothing yet: the pipeline begins anew", nil)
	}
	return finding("ledger", fmt.Sprintf("topic %s, at %s", name, state.Position), nil)
}

// checkTopics looks for the topics of tables.
func (s *Sink) checkTopics(ctx context.Context, k *cluster.Cluster, tables []*schema.Table) ([]schema.Finding, error) {
	plans := planner{cfg: &s.cfg, pipeline: s.rt.Pipeline, owners: map[string]string{}}
	names := make([]string, 0, len(tables))
	var findings []schema.Finding
	topics := map[*schema.Table]string{}
	for _, t := range tables {
		p, err := plans.plan(t)
		if err != nil {
			findings = append(findings, finding(t.String(), "", err))
			continue
		}
		names, topics[t] = append(names, p.topic), p.topic
	}
	counts, err := topic.Partitions(ctx, k, names)
	if err != nil {
		return findings, err
	}
	for _, t := range tables {
		name, ok := topics[t]
		switch spec := s.cfg.spec(name, t); {
		case !ok:
		case counts[name] > 0:
			f := finding(t.String(), fmt.Sprintf("topic %s, %d partitions", name, counts[name]), nil)
			if spec.Partitions > 0 && int(counts[name]) != spec.Partitions {
				f.Severity = schema.Warning
				f.Text += fmt.Sprintf("; create_topics says %d, which is for topics that are not there yet", spec.Partitions)
			}
			findings = append(findings, f)
		case s.cfg.CreateTopics.Enabled:
			findings = append(findings, finding(t.String(), "topic "+name+" will be made", nil))
		default:
			findings = append(findings, finding(t.String(), "", topic.Missing([]topic.Spec{spec})))
		}
	}
	return findings, nil
}

// finding is a pass with the text given, or the problem err is.
func finding(name, text string, err error) schema.Finding {
	if err == nil {
		return schema.Finding{Area: "target", Name: name, Text: text}
	}
	e := fault.Of(err)
	return schema.Finding{
		Area: "target", Name: name, Severity: schema.Problem, Text: e.Err.Error(), Code: e.Code, Fix: e.Remedy,
	}
}
