package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// Plain is SASL PLAIN. The password crosses the connection as it is: use it with TLS.
func Plain(username, password string) sasl.Mechanism {
	return plain.Mechanism{Username: username, Password: password}
}

// Scram256 is SASL SCRAM-SHA-256.
func Scram256(username, password string) (sasl.Mechanism, error) {
	return scram.Mechanism(scram.SHA256, username, password)
}

// Scram512 is SASL SCRAM-SHA-512.
func Scram512(username, password string) (sasl.Mechanism, error) {
	return scram.Mechanism(scram.SHA512, username, password)
}

// Token is what OAUTHBEARER logs in with.
type Token struct {
	Value      string
	Extensions map[string]string // of the mechanism (KIP-342), as some clouds want them
}

// OAuthBearer is SASL OAUTHBEARER (RFC 7628). The source is asked before each login, beside other logins, and gives
// a token that is valid by then.
func OAuthBearer(source func(ctx context.Context) (Token, error)) sasl.Mechanism {
	return oauthBearer{source: source}
}

type oauthBearer struct {
	source func(ctx context.Context) (Token, error)
}

// Name is the mechanism's name.
func (oauthBearer) Name() string { return "OAUTHBEARER" }

// Start gives the first message of the client.
func (m oauthBearer) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	t, err := m.source(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("getting a token: %w", err)
	}
	if t.Value == "" || strings.ContainsRune(t.Value, 1) {
		return nil, nil, errors.New("the token is empty or holds what no token may")
	}
	var first strings.Builder
	first.WriteString("n,,\x01auth=Bearer " + t.Value + "\x01")
	for _, key := range slices.Sorted(maps.Keys(t.Extensions)) {
		first.WriteString(key + "=" + t.Extensions[key] + "\x01")
	}
	first.WriteByte(1)
	return oauthSession{}, []byte(first.String()), nil
}

type oauthSession struct{}

// Next ends the exchange. A challenge that is not empty says why the token was refused; the answer to it, which the
// RFC asks for, makes the broker say so as an error.
func (oauthSession) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	return len(challenge) == 0, []byte{1}, nil
}

// login runs the exchange of a mechanism and tells when the login ends.
func (l *link) login(ctx context.Context, limit time.Duration, address string, m sasl.Mechanism) (time.Time, error) {
	msg, err := l.exchange(ctx, limit, &saslhandshake.Request{Mechanism: m.Name()})
	if err != nil {
		return time.Time{}, fmt.Errorf("agreeing on a SASL mechanism: %w", err)
	}
	if res := msg.(*saslhandshake.Response); res.ErrorCode != 0 {
		return time.Time{}, fmt.Errorf("agreeing on SASL %s, broker has %s: %w", m.Name(),
			strings.Join(res.Mechanisms, ", "), kafka.Error(res.ErrorCode))
	}
	host, port, _ := net.SplitHostPort(address)
	number, _ := strconv.Atoi(port)
	ctx = sasl.WithMetadata(ctx, &sasl.Metadata{Host: host, Port: number})
	session, out, err := m.Start(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("logging in by %s: %w", m.Name(), err)
	}
	for begun := time.Now(); ; {
		res, err := l.authenticate(ctx, limit, out)
		if err != nil {
			return time.Time{}, fmt.Errorf("logging in by %s: %w", m.Name(), err)
		}
		var done bool
		done, out, err = session.Next(ctx, res.AuthBytes)
		if err != nil { // SCRAM: the server could not prove that it knows the password
			return time.Time{}, fmt.Errorf("logging in by %s: %w: %w", m.Name(), kafka.SASLAuthenticationFailed, err)
		}
		if done {
			return expiry(begun, res.SessionLifetimeMs), nil
		}
	}
}

// authenticate is one step of a login.
func (l *link) authenticate(ctx context.Context, limit time.Duration, out []byte) (*saslauthenticate.Response, error) {
	msg, err := l.exchange(ctx, limit, &saslauthenticate.Request{AuthBytes: out})
	if errors.Is(err, io.EOF) { // how some brokers refuse
		return nil, fmt.Errorf("%w: %w", kafka.SASLAuthenticationFailed, err)
	}
	if err != nil {
		return nil, err
	}
	res := msg.(*saslauthenticate.Response)
	if res.ErrorCode != 0 {
		return nil, kafka.Error(res.ErrorCode)
	}
	return res, nil
}

// expiry is when a login has to be replaced, well before the broker ends the connection (KIP-368).
func expiry(begun time.Time, lifetimeMs int64) time.Time {
	if lifetimeMs <= 0 {
		return time.Time{}
	}
	return begun.Add(time.Duration(lifetimeMs) * time.Millisecond * 4 / 5)
}
