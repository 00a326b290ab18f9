package producer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/addpartitionstotxn"
	"github.com/segmentio/kafka-go/protocol/endtxn"
	"github.com/segmentio/kafka-go/protocol/initproducerid"

	"github.com/rowferry/rowferry/schema/failpoint"
	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/kafka/cluster"
)

// initialise asks for a session: a new claim from none, or a raised epoch from one held.
func (p *Producer) initialise(ctx context.Context, from Session) (Session, error) {
	req := &initproducerid.Request{
		TransactionalID: p.cfg.TransactionalID, ProducerID: from.ProducerID, ProducerEpoch: from.Epoch,
	}
	if p.transactional() {
		req.TransactionTimeoutMs = int32(p.cfg.TransactionTimeout.Milliseconds())
	} else {
		req.ProducerID, req.ProducerEpoch = none.ProducerID, none.Epoch
	}
	got := none
	err := p.persist(ctx, func() error {
		msg, err := p.cluster.RoundTrip(ctx, nil, req)
		if err != nil {
			return err
		}
		res := msg.(*initproducerid.Response)
		got = Session{ProducerID: res.ProducerID, Epoch: res.ProducerEpoch}
		return asError(res.ErrorCode)
	})
	return got, err
}

// prove makes sure that no newer producer took over, before a broker is asked to raise the epoch: it would abort the
// transaction that is open, whoever's it is, and only then compare epochs, so that one that was replaced would shut out
// its successor. What is asked for here changes nothing: a partition that has been added, or the end of nothing. It has
// to be asked just before: one that is replaced between the two still does harm.
func (p *Producer) prove(ctx context.Context) error {
	if !p.transactional() || p.state.phase == fresh {
		return nil
	}
	var err error
	for which := range p.state.added {
		err = p.addPartitions(ctx, []partition{which})
		break
	}
	if len(p.state.added) == 0 {
		_, err = p.end(ctx, false)
	}
	var code kafka.Error
	if errors.As(err, &code) && !passes(err) && cluster.React(code) != cluster.Outdated {
		return nil // nothing is open, or the brokers have forgotten the producer
	}
	return err
}

// errLost is the cause when a connection was lost while a transaction was begun.
var errLost = fault.Wait("target.connect", errors.New("a connection was lost while a transaction began"))

// join makes partitions part of the transaction, and opens it with the first. When it returns nil the coordinator has
// confirmed all of them: before that no batch may be sent.
func (p *Producer) join(ctx context.Context, missing []partition) error {
	if len(missing) == 0 {
		return nil
	}
	if err := failpoint.Hit(ctx, "kafka.begin"); err != nil {
		return err
	}
	if p.state.phase != ready {
		return p.addPartitions(ctx, missing)
	}
	for begun := p.cfg.Now(); ; {
		err := p.begin(ctx, missing)
		if !errors.Is(err, errLost) || ctx.Err() != nil || p.cfg.Now().Sub(begun) >= p.cfg.RetryFor {
			return err
		}
	}
}

// begin opens the transaction. A coordinator that was started again may have left the transaction before without its end, and
// this one must not go on with it: whenever a connection was lost, that is looked at first.
func (p *Producer) begin(ctx context.Context, missing []partition) error {
	if p.cluster.Lost() != p.lost {
		if err := p.resettle(ctx); err != nil {
			return err
		}
	}
	err := p.addPartitions(ctx, missing)
	var code kafka.Error
	switch {
	case errors.Is(err, errLost):
		// Whether it was opened is not known. Init asks for its end first, and nothing is in it.
		if err := p.resettle(ctx); err != nil {
			return err
		}
	case errors.As(err, &code) && cluster.React(code) == cluster.Renew:
		// Forgotten after a long silence; nothing of this transaction exists.
		if err := p.resettle(ctx); err != nil {
			return err
		}
		err = p.addPartitions(ctx, missing)
	}
	return err
}

// resettle raises the epoch and ends what was left unended.
func (p *Producer) resettle(ctx context.Context) error {
	if err := p.Init(ctx); err != nil {
		return err
	}
	_, err := p.Settle(ctx, nil, p.decisions)
	return err
}

// addPartitions asks the coordinator until it has confirmed all partitions. While the transaction is not open yet, it does not ask
// again after a connection was lost.
func (p *Producer) addPartitions(ctx context.Context, missing []partition) error {
	beginning := p.state.phase == ready
	p.state.begin(p.cfg.Now())
	return p.persist(ctx, func() error {
		msg, err := p.cluster.RoundTrip(ctx, nil, p.addRequest(missing))
		if err != nil {
			if beginning && p.cluster.Lost() != p.lost {
				return errLost
			}
			return fmt.Errorf("adding partitions to the transaction: %w", err)
		}
		confirmed, err := confirmations(msg.(*addpartitionstotxn.Response))
		if err != nil {
			return err
		}
		for _, which := range missing {
			if !confirmed[which] {
				return fmt.Errorf("adding %v to the transaction: the answer leaves it out: %w", which, kafka.Unknown)
			}
		}
		for _, which := range missing {
			p.state.added[which] = true
			p.topics[which.topic] = true
		}
		return nil
	})
}

// confirmations are the partitions an answer confirms, or the error of the one it does not. All or none are added, and
// the others are answered with OperationNotAttempted, which says nothing.
func confirmations(res *addpartitionstotxn.Response) (map[partition]bool, error) {
	confirmed := map[partition]bool{}
	var refused error
	for _, topic := range res.Results {
		for _, r := range topic.Results {
			which := partition{topic: topic.Name, number: r.PartitionIndex}
			err := asError(r.ErrorCode)
			if err == nil {
				confirmed[which] = true
				continue
			}
			if refused == nil || errors.Is(refused, cluster.OperationNotAttempted) {
				refused = fmt.Errorf("adding %v to the transaction: %w", which, err)
			}
		}
	}
	return confirmed, refused
}

// addRequest asks to add partitions.
func (p *Producer) addRequest(missing []partition) *addpartitionstotxn.Request {
	req := &addpartitionstotxn.Request{
		TransactionalID: p.cfg.TransactionalID,
		ProducerID:      p.state.session.ProducerID, ProducerEpoch: p.state.session.Epoch,
	}
	at := map[string]int{}
	for _, which := range missing {
		i, ok := at[which.topic]
		if !ok {
			i = len(req.Topics)
			at[which.topic] = i
			req.Topics = append(req.Topics, addpartitionstotxn.RequestTopic{Name: which.topic})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, which.number)
	}
	return req
}

// end ends the transaction. With an error, sent tells whether a request may have reached the coordinator without a
// word back, so that the transaction may have ended all the same.
func (p *Producer) end(ctx context.Context, commit bool) (sent bool, err error) {
	req := &endtxn.Request{
		TransactionalID: p.cfg.TransactionalID,
		ProducerID:      p.state.session.ProducerID, ProducerEpoch: p.state.session.Epoch, Committed: commit,
	}
	err = p.persist(ctx, func() error {
		msg, err := p.cluster.RoundTrip(ctx, nil, req)
		if err != nil {
			sent = true
			return err
		}
		code := msg.(*endtxn.Response).ErrorCode
		if kafka.Error(code) == kafka.Unknown || kafka.Error(code) == kafka.RequestTimedOut {
			sent = true
		}
		return asError(code)
	})
	return sent, err
}

// The pauses between attempts at one step. The first ones are as long as a coordinator takes at least to write the end
// of a transaction; it may take several, and nobody gains by waiting for longer than that.
const (
	shortestPause = time.Millisecond
	shortPauses   = 20 * time.Millisecond
	longestPause  = 500 * time.Millisecond
)

// persist repeats a step until it succeeds, fails for good, or has not succeeded for Config.RetryFor. This is not the
// engine's retry, which would begin the transaction anew: the protocol has answers that mean no more than "ask again",
// some after every commit, and only the same request sent again settles what became of the first.
func (p *Producer) persist(ctx context.Context, step func() error) error {
	begun := p.cfg.Now()
	for pause := shortestPause; ; {
		err := step()
		p.lingers(err)
		if err == nil || !passes(err) || ctx.Err() != nil {
			return err
		}
		if p.cfg.Now().Sub(begun) >= p.cfg.RetryFor {
			return fmt.Errorf("after %v of trying: %w", p.cfg.RetryFor, err)
		}
		if moves(err) {
			p.cluster.ForgetCoordinator(p.cfg.TransactionalID, kafka.CoordinatorKeyTypeTransaction)
			if err := p.cluster.Refresh(ctx); err != nil && !passes(err) {
				return err
			}
		}
		if err := cluster.Pause(ctx, pause); err != nil {
			return err
		}
		if p.cfg.Now().Sub(begun) >= shortPauses {
			pause = min(2*pause, longestPause)
		}
	}
}

// passes tells whether the same request may succeed a little later.
func passes(err error) bool {
	if errors.Is(err, errLost) {
		return false
	}
	var code kafka.Error
	var marked *fault.Error
	if errors.As(err, &marked) {
		return marked.Class == fault.Retryable && marked.Endless
	}
	if !errors.As(err, &code) {
		return false
	}
	reaction := cluster.React(code)
	return reaction == cluster.Repeat || reaction == cluster.Relocate
}

// moves tells whether the broker asked may be the wrong one.
func moves(err error) bool {
	var code kafka.Error
	return !errors.As(err, &code) || cluster.React(code) == cluster.Relocate
}

// asError is a broker's code as an error, nil for success.
func asError(code int16) error {
	if code == 0 {
		return nil
	}
	return kafka.Error(code)
}
