package servers

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Listener is one of a broker's addresses.
type Listener string

// The listeners that clients may come by.
const (
	KafkaPlain   Listener = "CLIENT"
	KafkaProxied Listener = "PROXIED"  // as CLIENT, but by way of a proxy: see Kafka.ProxyForTest
	KafkaTLS     Listener = "TLS"      // encryption without authentication; of a secure Kafka
	KafkaSASL    Listener = "SASL"     // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER without encryption; of a secure Kafka
	KafkaSASLTLS Listener = "SASL_TLS" // the same, encrypted
)

// The brokers' own.
const (
	between    Listener = "BETWEEN" // brokers, which never come by a proxy
	controller Listener = "CONTROLLER"
	advertised Listener = "ADVERTISED" // not the broker's: where the proxy in front of PROXIED listens
)

var allListeners = []Listener{KafkaPlain, KafkaProxied, KafkaTLS, KafkaSASL, KafkaSASLTLS, between, controller, advertised}

var protocols = map[Listener]string{
	KafkaPlain: "PLAINTEXT", KafkaProxied: "PLAINTEXT", between: "PLAINTEXT", controller: "PLAINTEXT",
	KafkaTLS: "SSL", KafkaSASL: "SASL_PLAINTEXT", KafkaSASLTLS: "SASL_SSL",
}

// Who may come by SASL. OAUTHBEARER takes whatever OAuthToken makes.
const (
	KafkaUser     = "rowferry"
	KafkaPassword = "rowferry-secret"
)

// properties are the broker's settings; later ones win.
func (b *broker) properties() []string {
	var voters []string
	for _, other := range b.kafka.brokers {
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", other.node, other.ports[controller]))
	}
	replicas := min(len(b.kafka.brokers), 3)
	settings := []string{
		"process.roles=broker,controller", fmt.Sprintf("node.id=%d", b.node), "log.dirs=" + filepath.Join(b.dir, "data"),
		"controller.listener.names=" + string(controller), "inter.broker.listener.name=" + string(between),
		"controller.quorum.voters=" + strings.Join(voters, ","),
		fmt.Sprintf("offsets.topic.replication.factor=%d", replicas), "offsets.topic.num.partitions=1",
		fmt.Sprintf("transaction.state.log.replication.factor=%d", replicas), fmt.Sprintf("transaction.state.log.num.partitions=%d", replicas),
		fmt.Sprintf("transaction.state.log.min.isr=%d", (replicas+1)/2),
		// A topic that nobody made is a mistake.
		"auto.create.topics.enable=false",
		// A broker that was killed may come back only when the controller has missed it.
		"broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=500",
		// Small, and soon done.
		"num.network.threads=2", "num.io.threads=2", "log.cleaner.dedupe.buffer.size=4194304", "group.initial.rebalance.delay.ms=0",
	}
	settings = append(settings, b.listeners()...)
	settings = append(settings, b.kafka.options.Settings...)
	return append(settings, b.settings...)
}

func (b *broker) listeners() []string {
	use := []Listener{KafkaPlain, KafkaProxied, between, controller}
	var security []string
	if b.kafka.options.Secure {
		use = append(use, KafkaTLS, KafkaSASL, KafkaSASLTLS)
		security = b.security()
	}
	var listen, tell, maps []string
	for _, l := range use {
		listen = append(listen, fmt.Sprintf("%s://127.0.0.1:%d", l, b.ports[l]))
		maps = append(maps, fmt.Sprintf("%s:%s", l, protocols[l]))
		switch l {
		case controller: // brokers know it from the voters
		case KafkaProxied:
			tell = append(tell, fmt.Sprintf("%s://127.0.0.1:%d", l, b.ports[advertised]))
		default:
			tell = append(tell, fmt.Sprintf("%s://127.0.0.1:%d", l, b.ports[l]))
		}
	}
	return append(security, "listeners="+strings.Join(listen, ","), "advertised.listeners="+strings.Join(tell, ","),
		"listener.security.protocol.map="+strings.Join(maps, ","))
}

func (b *broker) security() []string {
	settings := []string{
		"ssl.keystore.type=PEM", "ssl.keystore.location=" + filepath.Join(b.kafka.Dir, "server.pem"),
		"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"allow.everyone.if.no.acl.found=true", "super.users=User:ANONYMOUS",
	}
	const module = "org.apache.kafka.common.security."
	for _, l := range []Listener{KafkaSASL, KafkaSASLTLS} {
		prefix := "listener.name." + strings.ToLower(string(l)) + "."
		settings = append(settings,
			fmt.Sprintf("%splain.sasl.jaas.config=%splain.PlainLoginModule required user_%s=%q;", prefix, module, KafkaUser, KafkaPassword),
			prefix+"scram-sha-256.sasl.jaas.config="+module+"scram.ScramLoginModule required;",
			prefix+"scram-sha-512.sasl.jaas.config="+module+"scram.ScramLoginModule required;",
			prefix+"oauthbearer.sasl.jaas.config="+module+"oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";",
		)
	}
	return settings
}

// OAuthToken makes a token for OAUTHBEARER: unsigned, which the brokers take, and good for so long.
func OAuthToken(user string, life time.Duration) string {
	now := time.Now()
	claims, err := json.Marshal(map[string]any{"sub": user, "iat": now.Unix(), "exp": now.Add(life).Unix()})
	if err != nil {
		panic(err) // a text and two numbers
	}
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"none"}`)) + "." + part(claims) + "."
}
