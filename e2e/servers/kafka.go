package servers

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rowferry/rowferry/e2e/install"
	"github.com/rowferry/rowferry/e2e/proxy"
)

// The versions of Kafka that can be started.
const (
	KafkaNewest = "4.4"
	KafkaOldest = "3.9" // the last that old clients were written for
)

// KafkaOptions say what Kafka to start. The zero value is one broker of the newest version.
type KafkaOptions struct {
	Version  string
	Brokers  int      // 1 when it is 0; every broker is a controller too, so 3 survive the loss of one
	Secure   bool     // listeners with TLS and SASL besides, and access lists, which everything passes that none forbids
	Settings []string // name=value, as in server.properties; later ones win
	Java     []string // options of each broker's Java, later ones win; a heap has 256 MiB and code is compiled quickly
}

// Kafka is a cluster of brokers. Its fields are read only. Methods that start or end brokers are not safe to call
// beside each other for the same broker.
type Kafka struct {
	Version string
	Dir     string // holds a folder for each broker and the certificate; empty for a given Kafka
	CAFile  string // verifies the brokers' certificate for localhost and 127.0.0.1

	given    string // host:port of a Kafka that is not ours
	shared   bool   // it outlives the test
	home     string // what was installed
	cluster  string // id
	options  KafkaOptions
	brokers  []*broker // node n is brokers[n-1]
	watchdog *watchdog
}

// StartKafka installs the version when it is missing, starts the brokers and waits until they all answer. The
// cluster is removed by Remove or after the end of this process.
func StartKafka(ctx context.Context, o KafkaOptions) (*Kafka, error) {
	if o.Version == "" {
		o.Version = KafkaNewest
	}
	o.Brokers = max(o.Brokers, 1)
	home, err := install.KafkaServer(ctx, o.Version)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "rowferry-kafka-")
	if err != nil {
		return nil, fmt.Errorf("making Kafka's folder: %w", err)
	}
	k := &Kafka{Version: o.Version, Dir: dir, CAFile: filepath.Join(dir, "server.crt"), home: home, options: o}
	if k.watchdog, err = startWatchdog(kafkaWatchdog, dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := k.begin(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting Kafka %s: %w", o.Version, err), k.Remove())
	}
	return k, nil
}

func (k *Kafka) begin(ctx context.Context) error {
	if err := os.Chmod(k.Dir, 0o755); err != nil {
		return fmt.Errorf("opening Kafka's folder: %w", err)
	}
	if err := k.certify(); err != nil {
		return err
	}
	k.cluster = randomID()
	// A port that was free may be taken before a broker binds it.
	for attempt := 1; ; attempt++ {
		if err := k.place(); err != nil {
			return err
		}
		err := k.startAll(ctx)
		if err == nil || attempt == 5 || !errors.Is(err, errPortTaken) {
			return err
		}
		if err := k.killAll(); err != nil {
			return err
		}
		if err := os.RemoveAll(filepath.Join(k.Dir, "nodes")); err != nil {
			return fmt.Errorf("emptying Kafka's folder: %w", err)
		}
	}
}

func (k *Kafka) killAll() error {
	var err error
	for _, b := range k.brokers {
		err = errors.Join(err, b.kill())
	}
	return err
}

// certify makes the certificate, also in the one file that holds the key as Java wants it.
func (k *Kafka) certify() error {
	if err := certify(k.Dir); err != nil {
		return err
	}
	var both []byte
	for _, name := range []string{"server.key", "server.crt"} {
		text, err := os.ReadFile(filepath.Join(k.Dir, name))
		if err != nil {
			return fmt.Errorf("reading the certificate: %w", err)
		}
		both = append(both, text...)
	}
	path := filepath.Join(k.Dir, "server.pem")
	if err := os.WriteFile(path, both, 0o600); err != nil {
		return fmt.Errorf("writing the certificate: %w", err)
	}
	return own(path)
}

// place makes the brokers' folders, each with ports of its own and a copy of the formatted data.
func (k *Kafka) place() error {
	k.brokers = nil
	taken := map[int]bool{}
	for node := 1; node <= k.options.Brokers; node++ {
		b := &broker{kafka: k, node: node, dir: filepath.Join(k.Dir, "nodes", strconv.Itoa(node)), ports: map[Listener]int{}}
		for _, l := range allListeners {
			for b.ports[l] == 0 || taken[b.ports[l]] {
				var err error
				if b.ports[l], err = FreePorts(1); err != nil {
					return err
				}
			}
			taken[b.ports[l]] = true
		}
		if err := b.format(); err != nil {
			return err
		}
		k.brokers = append(k.brokers, b)
	}
	return nil
}

// startAll starts the brokers at once: none is ready before most of them are.
func (k *Kafka) startAll(ctx context.Context) error {
	errs := make([]error, len(k.brokers))
	var all sync.WaitGroup
	for i, b := range k.brokers {
		all.Go(func() { errs[i] = b.launch(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Brokers is how many brokers there are, numbered from 1; 0 for a given Kafka.
func (k *Kafka) Brokers() int { return len(k.brokers) }

// Addr is host:port of every broker, comma separated, without encryption or authentication.
func (k *Kafka) Addr() string { return k.AddrOf(KafkaPlain) }

// AddrOf is host:port of every broker's listener, comma separated; brokers send clients that came by a listener to
// each other's listeners of that kind. A given Kafka has only one.
func (k *Kafka) AddrOf(l Listener) string {
	if k.given != "" {
		return k.given
	}
	if l == KafkaProxied {
		l = advertised
	}
	var addrs []string
	for _, b := range k.brokers {
		addrs = append(addrs, b.at(l))
	}
	return strings.Join(addrs, ",")
}

func (b *broker) at(l Listener) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(b.ports[l]))
}

// Proxies puts a proxy before each of our brokers, that of node n at n-1. Clients that come by AddrOf(KafkaProxied) are
// sent to the other brokers' proxies, too; brokers talk to each other past them. The caller closes them before others are
// put there.
func (k *Kafka) Proxies() ([]*proxy.Proxy, error) {
	var proxies []*proxy.Proxy
	for i, b := range k.brokers {
		p, err := proxy.StartAt(b.at(advertised), b.at(KafkaProxied))
		if err != nil {
			for _, p := range proxies {
				p.Close()
			}
			return nil, fmt.Errorf("starting a proxy before broker %d: %w", i+1, err)
		}
		proxies = append(proxies, p)
	}
	return proxies, nil
}

// KillBroker ends a broker by SIGKILL, as a crash does. Its data stays.
func (k *Kafka) KillBroker(node int) error {
	b, err := k.broker(node)
	if err != nil {
		return err
	}
	return b.kill()
}

// StopBroker ends a broker in order: it hands over what it leads, and writes down what it knows.
func (k *Kafka) StopBroker(node int) error {
	b, err := k.broker(node)
	if err != nil {
		return err
	}
	return b.stop()
}

// PauseBroker lets a broker hang until ResumeBroker: it keeps its connections and answers nothing.
func (k *Kafka) PauseBroker(node int) error { return k.signal(node, pause) }

// ResumeBroker lets a broker go on.
func (k *Kafka) ResumeBroker(node int) error { return k.signal(node, resume) }

// StartBroker starts a broker that was killed or stopped, on its ports and its data, and waits until it answers.
// Settings are added to those it had.
func (k *Kafka) StartBroker(ctx context.Context, node int, settings ...string) error {
	b, err := k.broker(node)
	if err != nil {
		return err
	}
	if b.process != nil {
		return fmt.Errorf("starting broker %d: it runs", node)
	}
	b.settings = append(b.settings, settings...)
	for attempt := 1; ; attempt++ {
		err := b.launch(ctx)
		if err == nil || attempt == 5 || !errors.Is(err, errPortTaken) {
			return err
		}
	}
}

func (k *Kafka) broker(node int) (*broker, error) {
	switch {
	case k.given != "":
		return nil, errors.New("touching a Kafka that was given: it is not ours")
	case node < 1 || node > len(k.brokers):
		return nil, fmt.Errorf("looking for broker %d: there are %d", node, len(k.brokers))
	}
	return k.brokers[node-1], nil
}

// Remove ends the brokers, when they run, and removes their folder.
func (k *Kafka) Remove() error {
	if k.given != "" {
		return nil
	}
	return errors.Join(k.killAll(), k.watchdog.release(), os.RemoveAll(k.Dir))
}

// Log returns the end of what a broker wrote, for messages of tests.
func (k *Kafka) Log(node int) string {
	b, err := k.broker(node)
	if err != nil {
		return err.Error()
	}
	return b.log()
}

// randomID is an id as Kafka writes them.
func randomID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// brokerStart is how long a broker may take to start on a busy machine.
const brokerStart = 2 * time.Minute
