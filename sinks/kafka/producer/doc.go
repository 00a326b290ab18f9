// Package producer writes finished batches (package batch) into Kafka: in order, each exactly once, and in transactions
// if it has a transactional id.
//
//	c := cluster.New(cluster.Config{Brokers: []string{"kafka1:9092"}})
//	p := producer.New(c, producer.Config{TransactionalID: "rowferry-shop"})
//	err := p.Init(ctx)                    // fences older producers of this id and ends their transaction; only now
//	                                      // does a read of the ledger topic show the truth
//	err = p.Produce(ctx, batches)         // begins a transaction if none is open; as often as needed
//	err = p.Commit(ctx)                   // or nothing: a new producer aborts what is open
//
// # Order
//
// Batches of one partition are appended in the order they are given, at any round-trip time: every broker is sent requests
// side by side, each with the next batch of each partition the broker leads, as many as fit, and up to five of them before
// the first is answered. Sequence numbers keep the order: a broker refuses a batch whose predecessor it does not have. After
// trouble with a batch nothing more of its partition is sent; when all requests are answered, that batch goes out again with
// the same bytes, alone until it is taken, and then everything behind it. What had been appended is a repetition, and a
// broker knows those of the last five; one that was started again since knows the last only, and refuses the others, which
// aborts the transaction. The first batch of a session is alone, too, and the first after a long silence: a leader that
// knows nothing of the session would take whichever comes first.
// Produce returns when every batch is acknowledged by all in-sync replicas.
//
// # Transactions
//
// The protocol is the one before KIP-890 (EndTxn up to version 3, Produce up to version 8), which brokers 2.5 to 4.x
// speak. Its rules, in the order they are easily broken:
//
//   - A partition's first batch is sent only after AddPartitionsToTxn for it was confirmed. A broker may accept it
//     earlier: as part of the previous transaction, whose end is still on its way. Nothing would tell us, and readers
//     would see records of a transaction that is aborted later.
//   - EndTxn is answered before the end is written everywhere, so the next AddPartitionsToTxn finds the coordinator
//     busy and is repeated after a moment. That is normal and no error.
//   - A batch whose fate is unknown is sent again with the same bytes and the same sequence number; the broker answers
//     a repetition as it answered the first. Until every batch of a transaction is resolved it is not ended: a request
//     that lingers somewhere could otherwise join the next transaction. If that does not succeed in Config.RetryFor,
//     the transaction can only be aborted. The Init of a new producer does that by raising the epoch, which shuts out what
//     lingers. A transaction is never aborted with EndTxn: a successor could not tell such an end from a commit (Settle).
//   - A broker that is asked to raise an old epoch refuses, but aborts the transaction of the newer producer first, which
//     is fenced by that. So a producer proves that it is the newest before it asks.
//   - EndTxn is repeated until it is answered: it is idempotent as long as the epoch has not been raised. If any request
//     of a transaction had to be repeated because no answer came, the epoch is raised before the next transaction, so
//     that the first one, should it turn up late, is refused.
//
// # Errors
//
// After an error from Produce or Commit the producer is given up, and a new one initialised, which aborts the transaction.
// Errors are marked for the engine (schema/fault):
//
//   - Fenced: a newer producer of this transactional id exists. Nothing recovers from it.
//   - OutcomeUnknown: Commit was sent and no answer came. After Init of a new producer the ledger topic tells.
//   - Retryable: anything that passes by itself, connections, brokers and coordinators on the move, missing replicas.
//     "target.transaction_timeout" is retryable too: the transaction was open longer than the broker allows and has been
//     aborted by it. The broker's answer is that of fencing; the age of the transaction tells which. Only a new
//     producer helps then.
//   - Terminal: what an operator has to change: rights, sizes, topics.
//
// # Long silence
//
// Brokers forget idle producers (transactional.id.expiration.ms, producer.id.expiration.ms). A producer that was silent
// for Config.RenewAfter is initialised anew, with its id and epoch so that fencing still works, before it begins the
// next transaction. No goroutine does this.
//
// Without a transactional id the same machine gives ordered, idempotent produce: no duplicates while producer and brokers
// live, and at least once across a restart of either.
package producer
