package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/rowferry/rowferry/schema/fault"
)

// Errors that the library does not name, or names otherwise.
const (
	OperationNotAttempted kafka.Error = 55  // because of another partition in the same request
	TransactionAbortable  kafka.Error = 120 // of brokers since 4.0
)

// Reaction is what a producer does about an error code of a broker.
type Reaction uint8

// The reactions.
const (
	// Fail is the zero value, for what an operator has to change and for codes nobody expects.
	Fail Reaction = iota
	// Repeat the same request, to the same broker, after a moment.
	Repeat
	// Relocate: ask for metadata, or for the coordinator, then repeat.
	Relocate
	// Abandon the transaction: it can only be aborted, with the epoch raised.
	Abandon
	// Outdated: the epoch is not the newest. Another producer took over, or the broker aborted the transaction
	// because it took too long.
	Outdated
	// Renew: the broker has forgotten the producer.
	Renew
)

// React tells what to do about an error of a broker. It is the only place that reads Kafka's error codes; the texts of
// an operator's faults are in Classify.
func React(e kafka.Error) Reaction {
	switch e {
	case kafka.InvalidMessage, // a checksum: bytes were changed on their way
		kafka.RequestTimedOut, kafka.NetworkException, kafka.GroupLoadInProgress, kafka.NotEnoughReplicas,
		kafka.NotEnoughReplicasAfterAppend, kafka.ConcurrentTransactions, kafka.ThrottlingQuotaExceeded,
		OperationNotAttempted:
		return Repeat
	case kafka.UnknownTopicOrPartition, // a broker that has just become leader, or a topic just made
		kafka.LeaderNotAvailable, kafka.NotLeaderForPartition, kafka.BrokerNotAvailable, kafka.ReplicaNotAvailable,
		kafka.GroupCoordinatorNotAvailable, kafka.NotCoordinatorForGroup, kafka.TransactionCoordinatorFenced,
		kafka.KafkaStorageError, kafka.ListenerNotFound, kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch,
		kafka.NotController, kafka.UnknownTopicID, kafka.InconsistentTopicID:
		return Relocate
	case kafka.Unknown, kafka.OutOfOrderSequenceNumber,
		kafka.DuplicateSequenceNumber, // older than what the broker can tell from others; a repetition it knows is answered like the first
		kafka.InvalidTransactionState, TransactionAbortable:
		return Abandon
	case kafka.InvalidProducerEpoch, kafka.ProducerFenced:
		return Outdated
	case kafka.InvalidProducerIDMapping, kafka.UnknownProducerId, kafka.TransactionalIDNotFound:
		return Renew
	}
	return Fail
}

// Classify marks an error of this package, or one that wraps a broker's code, for the engine. Errors that are marked
// already, and the caller's own cancellation, pass as they are.
func Classify(err error) error {
	var marked *fault.Error
	if err == nil || errors.As(err, &marked) {
		return err
	}
	var code kafka.Error
	if !errors.As(err, &code) {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return fault.Wait("target.connect", err)
	}
	switch code {
	case kafka.SASLAuthenticationFailed, kafka.UnsupportedSASLMechanism, kafka.IllegalSASLState:
		return fault.Halt("target.auth", err, remedyAuth)
	case kafka.TopicAuthorizationFailed, kafka.GroupAuthorizationFailed, kafka.ClusterAuthorizationFailed,
		kafka.TransactionalIDAuthorizationFailed, kafka.SecurityDisabled:
		return fault.Halt("target.acl", err, remedyACL)
	case kafka.MessageSizeTooLarge, kafka.RecordListTooLarge, kafka.InvalidMessageSize:
		return fault.Halt("target.record_too_large", err, remedySize)
	case kafka.UnsupportedVersion, kafka.UnsupportedForMessageFormat, kafka.UnsupportedCompressionType:
		return fault.Halt("target.broker_version", err, remedyVersion)
	case kafka.InvalidTransactionTimeout:
		return fault.Halt("target.transaction_timeout_refused", err, remedyTimeout)
	case kafka.UnknownTopicOrPartition, kafka.UnknownTopicID, kafka.InconsistentTopicID:
		return fault.Wait("target.topic_missing", err)
	case kafka.NotEnoughReplicas, kafka.NotEnoughReplicasAfterAppend, kafka.LeaderNotAvailable,
		kafka.ReplicaNotAvailable, kafka.KafkaStorageError:
		return fault.Wait("target.replicas", err)
	case kafka.ThrottlingQuotaExceeded:
		return fault.Wait("target.quota", err)
	}
	switch React(code) {
	case Repeat, Relocate:
		return fault.Wait("target.cluster_moving", err)
	case Abandon, Renew:
		return &fault.Error{Code: "target.transaction_lost", Err: err}
	case Outdated:
		return fault.Fence(err)
	}
	return fault.Halt("target.request_refused", err, remedyRefused)
}

// connectError marks an error of a connection.
func connectError(address string, err error) error {
	var (
		code        kafka.Error
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		hostname    x509.HostnameError
		invalid     x509.CertificateInvalidError
		marked      *fault.Error
	)
	if errors.As(err, &marked) {
		return err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: %w", errSilent, err)
	}
	err = fmt.Errorf("broker %s: %w", address, err)
	if errors.As(err, &certificate) || errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &invalid) {
		return fault.Wait("target.tls", err)
	}
	if errors.As(err, &code) {
		switch code {
		case kafka.SASLAuthenticationFailed, kafka.UnsupportedSASLMechanism, kafka.IllegalSASLState:
			return Classify(err)
		}
	}
	return fault.Wait("target.connect", err)
}

// versionError says that a broker and this client have no version of an API in common.
func versionError(address string, key protocol.ApiKey, r versionRange, known bool) error {
	err := fmt.Errorf("broker %s does not have %v", address, key)
	if known {
		err = fmt.Errorf("broker %s speaks %v in versions %d to %d, this program in %d to %d", address, key, r.min, r.max,
			key.MinVersion(), key.MaxVersion())
	}
	return fault.Halt("target.broker_version", err, remedyVersion)
}

// worst picks the error to tell of several brokers': one that an operator has to see before one that passes.
func worst(all []error) error {
	for _, err := range all {
		if fault.ClassOf(err) == fault.Terminal {
			return err
		}
	}
	if len(all) == 0 {
		return fault.Wait("target.connect", net.UnknownNetworkError("no broker is known"))
	}
	return all[len(all)-1]
}
