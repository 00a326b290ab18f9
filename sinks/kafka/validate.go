package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rowferry/rowferry/schema/setting"
	"github.com/rowferry/rowferry/sinks/kafka/topic"
)

// Words of settings.
const (
	exactlyOnce = "exactly_once"
	atLeastOnce = "at_least_once"
	claimCheck  = "claim_check"
)

// Validate tells everything that is wrong with the settings, each with its path.
func (c *Config) Validate() []error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := brokersOf(c.URL); err != nil {
		refuse("url: %w", err)
	}
	for _, w := range []struct {
		path, value string
		words       []string
	}{
		{"tls.mode", c.TLS.Mode, []string{"disable", "verify-full"}},
		{"sasl.mechanism", c.SASL.Mechanism, []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"}},
		{"partition_by", c.PartitionBy, []string{"key", "columns", "transaction", "one"}},
		{"added_partitions", c.AddedPartitions, []string{"halt", "keep", "use"}},
		{"format.value", c.Format.Value, []string{formatDebezium, formatJSON}},
		{"delivery", c.Delivery, []string{exactlyOnce, atLeastOnce}},
		{"oversize", c.Oversize, []string{"halt", claimCheck}},
	} {
		if w.value != "" && !slices.Contains(w.words, w.value) {
			refuse("%s: %q is none of %s", w.path, w.value, strings.Join(w.words, ", "))
		}
	}
	if c.Topic != "" {
		if err := topic.Pattern(c.Topic).Validate(); err != nil {
			refuse("topic: %w", err)
		}
	}
	for _, err := range c.Format.Debezium.Validate() {
		refuse("format.debezium.%w", err)
	}
	errs = append(errs, c.validateTopics()...)
	errs = append(errs, c.validateLogin()...)
	errs = append(errs, c.validateSizes()...)
	return errs
}

// validateTopics looks at the topics that are not a table's.
func (c *Config) validateTopics() []error {
	var errs []error
	for _, t := range []struct{ path, value string }{
		{"messages.topic", c.Messages.Topic}, {"ledger.topic", c.Ledger.Topic}, {"transaction_topic", c.TransactionTopic},
		{"heartbeat_topic", c.HeartbeatTopic}, {"claim_check.topic", c.ClaimCheck.Topic},
	} {
		p := topic.Pattern(t.value)
		switch err := p.Validate(); {
		case t.value == "":
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", t.path, err))
		case p.PerTable():
			errs = append(errs, fmt.Errorf("%s: %q cannot have {schema} or {table}", t.path, t.value))
		case t.path != "ledger.topic" && t.value == c.Ledger.Topic, t.path != "ledger.topic" && t.value == "{pipeline}.rowferry.ledger" && c.Ledger.Topic == "":
			errs = append(errs, fmt.Errorf("%s: the ledger's topic holds the ledger only", t.path))
		}
	}
	if len(c.PartitionColumns) > 0 && c.PartitionBy != "columns" {
		errs = append(errs, errors.New("partition_columns: is for partition_by: columns"))
	}
	for path, named := range map[string]map[string][]string{"keys": c.Keys, "partition_columns": c.PartitionColumns} {
		for table, columns := range named {
			if len(columns) == 0 {
				errs = append(errs, fmt.Errorf("%s: %q names no column", path, table))
			}
		}
	}
	if c.Oversize == claimCheck && (c.ClaimCheck.Path == "") == (c.ClaimCheck.Topic == "") {
		errs = append(errs, errors.New("claim_check: set either path or topic"))
	}
	return errs
}

// validateLogin looks at TLS and SASL.
func (c *Config) validateLogin() []error {
	var errs []error
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		errs = append(errs, errors.New("tls: cert_file and key_file go together"))
	}
	switch s := &c.SASL; {
	case s.Mechanism == "" && (s.Username != "" || s.Password != "" || s.TokenFile != ""):
		errs = append(errs, errors.New("sasl.mechanism: is needed to log in"))
	case s.Mechanism == "OAUTHBEARER" && s.TokenFile == "":
		errs = append(errs, errors.New("sasl.token_file: OAUTHBEARER needs one"))
	case s.Mechanism != "" && s.Mechanism != "OAUTHBEARER" && (s.Username == "" || s.Password == ""):
		errs = append(errs, fmt.Errorf("sasl: %s needs username and password", s.Mechanism))
	}
	return errs
}

// validateSizes looks at numbers; 0 stands for a default.
func (c *Config) validateSizes() []error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if v := c.MaxMessage; v != 0 && (v < 1<<10 || v > 1<<30) {
		refuse("max_message: %s is not between 1KiB and 1GiB", v)
	}
	if v := c.ClaimCheck.MaxMessage; v != 0 && (v < 1<<10 || v > 1<<30) {
		refuse("claim_check.max_message: %s is not between 1KiB and 1GiB", v)
	}
	if v := c.Batch.MaxBytes; v != 0 && (v < 64<<10 || v > 1<<30) {
		refuse("batch.max_bytes: %s is not between 64KiB and 1GiB", v)
	}
	if c.Batch.MaxRows < 0 {
		refuse("batch.max_rows: %d is below 0", c.Batch.MaxRows)
	}
	if v := c.Transaction.Timeout; v != 0 && v < setting.Duration(time.Second) {
		refuse("transaction.timeout: %s is below 1s", v)
	}
	numbers := []struct {
		path  string
		value int
	}{
		{"create_topics.partitions", c.CreateTopics.Partitions}, {"create_topics.replication", c.CreateTopics.Replication},
		{"ledger.replication", c.Ledger.Replication},
	}
	for i := range c.CreateTopics.Rules {
		r := &c.CreateTopics.Rules[i]
		numbers = append(numbers, struct {
			path  string
			value int
		}{fmt.Sprintf("create_topics.rules[%d]", i), min(r.Partitions, r.Replication)})
	}
	for _, n := range numbers {
		if n.value < 0 {
			refuse("%s: %d is below 0", n.path, n.value)
		}
	}
	return errs
}

// brokersOf reads the brokers out of a URL.
func brokersOf(url string) ([]string, error) {
	list, ok := strings.CutPrefix(url, "kafka://")
	if !ok {
		return nil, errors.New("is no kafka://HOST:PORT,HOST:PORT")
	}
	list = strings.TrimSuffix(list, "/")
	if strings.ContainsAny(list, "/?#") {
		return nil, errors.New("may hold hosts and ports only: topics and options are settings of their own")
	}
	if strings.Contains(list, "@") {
		return nil, errors.New("may not hold a user: set sasl.mechanism, sasl.username and sasl.password")
	}
	var brokers []string
	for broker := range strings.SplitSeq(list, ",") {
		host, port, err := net.SplitHostPort(broker)
		if err != nil {
			host, port = strings.Trim(broker, "[]"), "9092"
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" || strings.ContainsAny(host, " []") {
			return nil, fmt.Errorf("%q is no HOST:PORT", broker)
		}
		brokers = append(brokers, net.JoinHostPort(host, port))
	}
	return brokers, nil
}

// tlsConfig is the protection of connections, nil for none.
func (c *Config) tlsConfig() (*tls.Config, error) {
	t := &c.TLS
	given := t.CAFile != "" || t.CertFile != "" || t.ServerName != ""
	if t.Mode == "disable" || t.Mode == "" && !given && (c.SASL.Mechanism == "" || c.loopback()) {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		text, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("tls.ca_file: %s holds no certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

// loopback tells whether every broker named is this machine.
func (c *Config) loopback() bool {
	brokers, _ := brokersOf(c.URL)
	return !slices.ContainsFunc(brokers, func(broker string) bool {
		host, _, _ := net.SplitHostPort(broker)
		ip := net.ParseIP(host)
		return host != "localhost" && (ip == nil || !ip.IsLoopback())
	})
}
