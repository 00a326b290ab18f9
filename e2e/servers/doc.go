// Package servers runs real database servers and Kafka brokers for tests: throw-away ones on loopback, with a free port, that
// end and leave no file behind with the process that started them, even when it is killed by SIGKILL.
//
//	server := servers.ForTest(t, 15)   // shared by the test binary, started on first use
//	url := server.NewDatabase(t)       // a database of this test, dropped at its end with its slots
//	servers.Exec(t, url, `CREATE TABLE t (id int PRIMARY KEY)`)
//
// A test that restarts or kills a server takes one of its own from [StartForTest]. A server that a person
// has is used instead when its URL is in the environment, as in ROWFERRY_TEST_PG15=postgres://…; it must
// allow what the options below allow, and tests that need a server of their own still start one.
//
// Servers run with wal_level=logical, 50 slots and senders, prepared transactions, commit timestamps, TLS
// offered with a certificate of their own, and without fsync: a crash of the machine may cost them their
// data, a crash of the server does not. synchronous_commit stays on, because a walsender sends only what
// is flushed. Called by root they run as nobody. The package works on Linux.
//
// Kafka is shared and owned in the same way:
//
//	kafka := servers.KafkaForTest(t, servers.KafkaNewest)
//	topic := kafka.Prefix(t) + "orders"    // topics of the prefix are deleted at the test's end
//	kafka.CreateTopic(t, topic, 3)
//
// Brokers are controllers, too, and do not need fsync: what a killed broker wrote, the system still has. They begin
// with a data folder that was formatted once, small heaps, quick timeouts, and no topic made by its mere use.
// StartKafkaForTest gives clusters with TLS, SASL and access lists, of several brokers, of brokers to kill, and
// with settings of their own; ProxyForTest puts a bad network between them and their clients.
package servers
