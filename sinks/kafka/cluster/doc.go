// Package cluster talks to a Kafka cluster: it knows which broker leads which partition and which coordinates which
// transaction, and keeps two connections to each broker it needs, one for records and one for everything else.
//
// It stands where kafka-go's Transport would, over the same messages and the same RoundTripper contract, so that a
// kafka.Client runs on it (Client), and differs in what a producer with sequence numbers cannot do without:
//
//   - Requests of a kind for a broker go over one connection, in the order they were made: one after the other, but that
//     up to five produce requests of one call are sent before the first is answered (Produce). Transport opens another
//     connection whenever the first is busy, and batches of a partition overtake each other.
//   - Metadata is asked for when it is wrong (Refresh) and only about the topics in use. Transport answers from a
//     cache with a time limit and reads the whole cluster.
//   - A coordinator is looked up once, not before each request, and its error is read.
//   - The ranges of API versions are compared: a broker that has given up the newest version known here is an error
//     that says so, not an answer that cannot be parsed.
//   - No goroutine runs outside a call. After Close nothing is left.
//   - A broker's request to slow down (quotas) is kept, and counted.
//   - A connection whose login is about to expire is replaced between two requests.
//
// A request and its answer are bounded by the context and by Config.RequestTimeout; where several are under way, writing
// each, and awaiting each answer once it is its turn. A request that fails without an answer breaks its connection,
// because a late answer would be taken for that of the next request; whether the broker has acted on it, and on those
// behind it, is unknown. Nothing is repeated here: who calls knows what may be.
//
// Kafka's error codes are read in one file, fault.go, which says for each of them what to do.
package cluster
