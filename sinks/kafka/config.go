package kafka

import (
	"time"

	"github.com/rowferry/rowferry/schema/setting"
	"github.com/rowferry/rowferry/schema/wire/debezium"
	"github.com/rowferry/rowferry/sinks/kafka/batch"
	"github.com/rowferry/rowferry/sinks/kafka/topic"
)

// Config is the configuration of a Kafka target.
type Config struct {
	// URL names brokers to begin with: kafka://host:port,host:port. The port is 9092 when left out.
	URL string `yaml:"url"`
	// TLS says how the connections are protected.
	TLS TLS `yaml:"tls"`
	// SASL is how to log in. Without a mechanism there is no login.
	SASL SASL `yaml:"sasl"`
	// Topic is the pattern of topic names: text with {pipeline}, {schema} and {table}. A pattern without {schema} and
	// {table} puts every table into one topic. Characters a topic cannot have become _.
	Topic string `yaml:"topic" default:"{pipeline}.{schema}.{table}"`
	// Keys gives tables another key than the primary key, by full name: "public.audit": [id]. The columns have to be
	// part of the replica identity, or updates and deletes would lack them.
	Keys map[string][]string `yaml:"keys"`
	// PartitionBy decides the partition: key keeps the changes of a row in order, columns those of rows that agree in
	// partition_columns, transaction puts a whole transaction into one partition and gives the order of rows up, one
	// uses the first partition only and keeps everything in order.
	PartitionBy string `yaml:"partition_by" default:"key"`
	// PartitionColumns names the columns of partition_by: columns, by table: "public.orders": [customer]. Tables not
	// named use their key.
	PartitionColumns map[string][]string `yaml:"partition_columns"`
	// AddedPartitions says what happens when a topic has gained partitions, which would break the order of a row's
	// changes: halt; keep goes on with those known; use spreads keys anew.
	AddedPartitions string `yaml:"added_partitions" default:"halt"`
	// Format says how records are written.
	Format Format `yaml:"format"`
	// Delivery is exactly_once, or at_least_once for clusters that do not allow transactions.
	Delivery string `yaml:"delivery" default:"exactly_once"`
	// CreateTopics says how topics are made.
	CreateTopics CreateTopics `yaml:"create_topics"`
	// Compression of record batches: none, gzip, snappy, lz4 or zstd.
	Compression batch.Codec `yaml:"compression" default:"lz4"`
	// MaxMessage is the largest record batch that is sent. It may not be above max.message.bytes of the topics.
	MaxMessage setting.Size `yaml:"max_message" default:"1MB"`
	// Oversize says what happens to a record larger than max_message: halt, or claim_check, which keeps the value
	// elsewhere and sends a reference. Nothing is ever left out.
	Oversize string `yaml:"oversize" default:"halt"`
	// ClaimCheck says where values too large for a record are kept.
	ClaimCheck ClaimCheck `yaml:"claim_check"`
	// Transaction is about Kafka's transactions.
	Transaction Transaction `yaml:"transaction"`
	// Messages is where logical messages go.
	Messages Messages `yaml:"messages"`
	// TransactionTopic gets a record when a source transaction begins and one when it ends, with the number of its
	// changes by table; in debezium-json records then tell their place in it. Empty for none. {pipeline} may stand in it.
	TransactionTopic string `yaml:"transaction_topic"`
	// HeartbeatTopic gets a record whenever the position moves without changes, at most every 10 seconds. Empty for
	// none. {pipeline} may stand in it.
	HeartbeatTopic string `yaml:"heartbeat_topic"`
	// Ledger is where the position is kept.
	Ledger Ledger `yaml:"ledger"`
	// Batch bounds how many source transactions are joined into one Kafka transaction.
	Batch Batch `yaml:"batch"`
	// ClientID is how brokers' logs, metrics and quotas name us; "rowferry-" and the pipeline's name when empty.
	ClientID string `yaml:"client_id"`
	// ConnectTimeout bounds each attempt to connect and log in.
	ConnectTimeout setting.Duration `yaml:"connect_timeout" default:"10s"`
	// RequestTimeout bounds the wait for the answer to one request.
	RequestTimeout setting.Duration `yaml:"request_timeout" default:"30s"`
}

// TLS says how connections are protected.
type TLS struct {
	// Mode is disable or verify-full. Empty means verify-full when another setting of tls is given, or a login beyond
	// loopback.
	Mode string `yaml:"mode"`
	// CAFile holds the certificates to trust, as PEM; the system's when empty.
	CAFile string `yaml:"ca_file"`
	// CertFile is our client certificate, as PEM.
	CertFile string `yaml:"cert_file"`
	// KeyFile is the client certificate's key, as PEM.
	KeyFile string `yaml:"key_file"`
	// ServerName is the name the brokers' certificates have to hold, when it is not the host of the connection.
	ServerName string `yaml:"server_name"`
}

// SASL is how to log in.
type SASL struct {
	// Mechanism is PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.
	Mechanism string `yaml:"mechanism"`
	// Username of the login.
	Username string `yaml:"username"`
	// Password of the login.
	Password setting.Secret `yaml:"password"`
	// TokenFile holds the token of OAUTHBEARER. It is read again for every login.
	TokenFile string `yaml:"token_file"`
}

// Format says how records are written.
type Format struct {
	// Value is debezium-json, which readers of Debezium's topics know; or json, the plain format of files and standard output,
	// one object a record.
	Value string `yaml:"value" default:"debezium-json"`
	// Debezium says which of Debezium's forms debezium-json has.
	Debezium debezium.Config `yaml:"debezium"`
	// Tombstones writes a null value after each delete, for compaction.
	Tombstones bool `yaml:"tombstones" default:"true"`
	// Headers adds the headers rowferry.end, rowferry.lsn and rowferry.seq, which tell a repetition from a new change.
	Headers bool `yaml:"headers" default:"true"`
}

// CreateTopics says how topics are made.
type CreateTopics struct {
	// Enabled makes topics that are missing. Otherwise they have to exist.
	Enabled bool `yaml:"enabled" default:"true"`
	// Partitions of a topic; 0 for the brokers' default.
	Partitions int `yaml:"partitions" default:"0"`
	// Replication is how many brokers hold a copy; 0 for the brokers' default.
	Replication int `yaml:"replication" default:"0"`
	// Configs are settings of the topics, such as cleanup.policy or retention.ms.
	Configs map[string]string `yaml:"configs"`
	// Rules say otherwise for some tables. The first that matches counts, for the settings it gives.
	Rules []TopicRule `yaml:"rules"`
}

// TopicRule is how the topics of some tables are made.
type TopicRule struct {
	// Tables are patterns of tables, as in the source.
	Tables []setting.Pattern `yaml:"tables"`
	// Partitions of a topic; 0 to leave it as above.
	Partitions int `yaml:"partitions" default:"0"`
	// Replication is how many brokers hold a copy; 0 to leave it as above.
	Replication int `yaml:"replication" default:"0"`
	// Configs are settings beside those above.
	Configs map[string]string `yaml:"configs"`
}

// ClaimCheck says where values too large for a record are kept. One of the two has to be set.
type ClaimCheck struct {
	// Path is a folder. Each value becomes a file of it, named by its SHA-256.
	Path string `yaml:"path"`
	// Topic takes the values as records, each with its SHA-256 as key. Its max.message.bytes, and the brokers', have
	// to be raised first.
	Topic string `yaml:"topic"`
	// MaxMessage is the largest record the topic takes.
	MaxMessage setting.Size `yaml:"max_message" default:"64MiB"`
}

// Transaction is about Kafka's transactions.
type Transaction struct {
	// ID is the transactional id: "rowferry-" and the pipeline's name when empty. Whoever uses the same one is shut out.
	ID string `yaml:"id"`
	// Timeout is after how long without an end the broker aborts a transaction. A source transaction that takes longer
	// to be read and written halts the pipeline. Brokers allow 15 minutes unless told otherwise.
	Timeout setting.Duration `yaml:"timeout" default:"60s"`
}

// Messages is where logical messages go.
type Messages struct {
	// Topic of logical messages. {pipeline} may stand in it.
	Topic string `yaml:"topic" default:"{pipeline}.message"`
}

// Ledger is where the position is kept.
type Ledger struct {
	// Topic is compacted, with one partition. {pipeline} may stand in it.
	Topic string `yaml:"topic" default:"{pipeline}.rowferry.ledger"`
	// Replication is how many brokers hold a copy when it is made; 0 for the brokers' default.
	Replication int `yaml:"replication" default:"0"`
}

// Batch bounds one Kafka transaction. A single source transaction is never split.
type Batch struct {
	// MaxRows is how many changes are joined. 0 for any number.
	MaxRows int `yaml:"max_rows" default:"0"`
	// MaxBytes is how much memory the joined changes may take. As much again is read ahead of a transaction.
	MaxBytes setting.Size `yaml:"max_bytes" default:"8MiB"`
	// MaxWait is how long a change may wait for others to be joined with. 0s joins only what arrives while the brokers
	// are busy.
	MaxWait setting.Duration `yaml:"max_wait" default:"0s"`
	// MinInterval is how far apart transactions begin that are not full. Each costs the brokers the same, be it for one change
	// or for a hundred; many small ones delay each other. The first after a silence begins at once.
	MinInterval setting.Duration `yaml:"min_interval" default:"5ms"`
}

// withDefaults fills what is named after the pipeline, and the values a zero Config leaves out.
func (c Config) withDefaults(pipeline string) Config {
	fill := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	fill(&c.Topic, "{pipeline}.{schema}.{table}")
	fill(&c.PartitionBy, "key")
	fill(&c.AddedPartitions, "halt")
	fill(&c.Format.Value, formatDebezium)
	c.Format.Debezium = c.Format.Debezium.WithDefaults(pipeline)
	fill(&c.Delivery, exactlyOnce)
	fill(&c.Oversize, "halt")
	fill(&c.Messages.Topic, "{pipeline}.message")
	fill(&c.Ledger.Topic, "{pipeline}.rowferry.ledger")
	fill(&c.Transaction.ID, "rowferry-"+pipeline)
	fill(&c.ClientID, "rowferry-"+pipeline)
	for field, value := range map[*setting.Duration]time.Duration{
		&c.Transaction.Timeout: time.Minute, &c.ConnectTimeout: 10 * time.Second, &c.RequestTimeout: 30 * time.Second,
	} {
		if *field == 0 {
			*field = setting.Duration(value)
		}
	}
	for field, value := range map[*setting.Size]setting.Size{
		&c.MaxMessage: 1e6, &c.ClaimCheck.MaxMessage: 64 << 20, &c.Batch.MaxBytes: 8 << 20,
	} {
		if *field == 0 {
			*field = value
		}
	}
	for _, field := range []*string{&c.Messages.Topic, &c.Ledger.Topic, &c.TransactionTopic, &c.HeartbeatTopic, &c.ClaimCheck.Topic} {
		if *field != "" {
			*field = topic.Pattern(*field).Name(pipeline, nil)
		}
	}
	return c
}

// Claims names the transactional id: two pipelines that write with one shut each other out.
func (c Config) Claims(pipeline string) []string {
	c = c.withDefaults(pipeline)
	if c.Delivery != exactlyOnce {
		return nil
	}
	return []string{"the transactional id " + c.Transaction.ID + " of " + c.URL}
}
