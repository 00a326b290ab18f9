package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/segmentio/kafka-go/sasl"

	"github.com/rowferry/rowferry/schema/fault"
	"github.com/rowferry/rowferry/sinks/kafka/cluster"
)

// connect makes a cluster of the settings. Nothing is sent yet.
func (c *Config) connect() (*cluster.Cluster, error) {
	brokers, err := brokersOf(c.URL)
	if err != nil {
		return nil, configError(fmt.Errorf("url: %w", err))
	}
	protection, err := c.tlsConfig()
	if err != nil {
		return nil, configError(err)
	}
	login, err := c.mechanism()
	if err != nil {
		return nil, configError(err)
	}
	return cluster.New(cluster.Config{
		Brokers: brokers, ClientID: c.ClientID, TLS: protection, SASL: login,
		DialTimeout: time.Duration(c.ConnectTimeout), RequestTimeout: time.Duration(c.RequestTimeout),
	}), nil
}

// mechanism is how to log in, nil for not at all.
func (c *Config) mechanism() (sasl.Mechanism, error) {
	s := &c.SASL
	switch s.Mechanism {
	case "PLAIN":
		return cluster.Plain(s.Username, s.Password.Reveal()), nil
	case "SCRAM-SHA-256":
		return cluster.Scram256(s.Username, s.Password.Reveal())
	case "SCRAM-SHA-512":
		return cluster.Scram512(s.Username, s.Password.Reveal())
	case "OAUTHBEARER":
		path := s.TokenFile
		return cluster.OAuthBearer(func(context.Context) (cluster.Token, error) { return readToken(path) }), nil
	}
	return nil, nil
}

// readToken reads the token of OAUTHBEARER, as it is at this moment.
func readToken(path string) (cluster.Token, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return cluster.Token{}, fmt.Errorf("sasl.token_file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return cluster.Token{}, errors.New("sasl.token_file: is empty")
	}
	return cluster.Token{Value: token}, nil
}

// configError is the halt for settings that cannot be used.
func configError(err error) error {
	return fault.Halt("target.config", err, "correct the target's settings")
}
