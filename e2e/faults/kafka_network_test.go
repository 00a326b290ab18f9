package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rowferry/rowferry/e2e/daemon"
	"github.com/rowferry/rowferry/e2e/load"
	"github.com/rowferry/rowferry/e2e/proxy"
	"github.com/rowferry/rowferry/e2e/servers"
	"github.com/rowferry/rowferry/e2e/trial"
)

// TestFault79_NetworkToTheBrokers resets connections, swallows answers and swallows requests, again and again, under a
// load. An end of a transaction that got no answer counted or did not: the ledger tells.
func TestFault79_NetworkToTheBrokers(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	k := servers.StartKafkaForTest(t, servers.KafkaOptions{})
	network := k.ProxyForTest(t)[0]
	tr := kafkaTrial(t, 79, k, trial.Options{
		KafkaVia: k.AddrOf(servers.KafkaProxied),
		InKafka:  daemon.Settings{"request_timeout": "1s", "connect_timeout": "1s"},
		Besides:  daemon.Settings{"on_error": daemon.Settings{"retries": daemon.Settings{"backoff": "100ms..1s"}}},
	})
	flow(ctx, t, tr)
	for range 12 {
		more(ctx, t, tr, 7)
		network.Reset()
	}
	for _, cut := range []proxy.Direction{proxy.ToClient, proxy.ToServer, proxy.ToClient} {
		more(ctx, t, tr, 20)
		network.Set(cut, proxy.Toxic{BlackHole: true})
		pause(ctx, 1500*time.Millisecond)
		network.Heal()
		if err := tr.AwaitFollowing(ctx); err != nil {
			t.Fatal(err)
		}
	}
	more(ctx, t, tr, 20)
	finish(ctx, t, tr)
}

// TestFault27_SlowBrokers: a quarter of a second there and back, and 200 kB a second. It takes longer, and that is all.
func TestFault27_SlowBrokers(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	k := servers.StartKafkaForTest(t, servers.KafkaOptions{})
	network := k.ProxyForTest(t)[0]
	tr := kafkaTrial(t, 271, k, trial.Options{
		KafkaVia: k.AddrOf(servers.KafkaProxied),
		Load:     &load.Runner{Profile: load.Full(), Seed: 271, Workers: 1, Rate: 10},
	})
	if err := tr.Start(); err != nil {
		t.Fatal(err)
	}
	if err := tr.AwaitFollowing(ctx); err != nil {
		t.Fatal(err)
	}
	both(network, proxy.Toxic{Delay: 125 * time.Millisecond, Rate: 200_000})
	tr.Begin(ctx)
	more(ctx, t, tr, 60)
	tr.Load().Pause()
	if err := tr.CatchUp(ctx); err != nil {
		t.Fatal(err)
	}
	page, err := tr.Daemon.Metrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(page), "rowferry_target_retries_total{"); n > 0 {
		t.Errorf("there were retries:\n%s", tr.Daemon.LogEnd())
	}
	network.Heal()
	finish(ctx, t, tr)
}

// TestFault30_KafkaProtected: encrypted and logged in. What is not trusted is waited for and what is refused halts;
// nothing is ever sent in the clear instead.
func TestFault30_KafkaProtected(t *testing.T) {
	t.Parallel()
	k := servers.StartKafkaForTest(t, servers.KafkaOptions{Secure: true})
	login := func(mechanism, password string) daemon.Settings {
		return daemon.Settings{"mechanism": mechanism, "username": servers.KafkaUser, "password": password}
	}
	t.Run("SCRAM over TLS", func(t *testing.T) {
		p := newKafkaPair(t, k)
		p.Pipelines[0].Target = "kafka://" + k.AddrOf(servers.KafkaSASLTLS)
		p.set(daemon.Settings{"sasl": login("SCRAM-SHA-512", "${env:KAFKA_PASSWORD}"), "tls": daemon.Settings{"ca_file": k.CAFile}})
		p.Options.Env = []string{"KAFKA_PASSWORD=" + servers.KafkaPassword}
		p.follow()
		p.exec(`INSERT INTO items VALUES (1000, 'secret')`)
		p.equal()
		p.Kill()
		p.follow()
		p.exec(`DELETE FROM items WHERE id < 20`)
		p.equal()
		if strings.Contains(p.Log(), servers.KafkaPassword) {
			t.Error("the log holds the password")
		}
	})
	t.Run("OAUTHBEARER", func(t *testing.T) {
		p := newKafkaPair(t, k)
		token := filepath.Join(p.Folder, "token")
		renew := func(life time.Duration) {
			if err := os.WriteFile(token, []byte(servers.OAuthToken(servers.KafkaUser, life)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		renew(time.Hour)
		p.Pipelines[0].Target = "kafka://" + k.AddrOf(servers.KafkaSASL)
		p.set(daemon.Settings{"sasl": daemon.Settings{"mechanism": "OAUTHBEARER", "token_file": token}, "tls": daemon.Settings{"mode": "disable"}})
		p.follow()
		p.equal()
		p.stop()
		renew(-time.Hour)
		p.start()
		p.halted("target.auth")
		p.Kill()
		renew(time.Hour)
		p.follow()
		p.exec(`INSERT INTO items VALUES (1000, 'renewed')`)
		p.equal()
	})
	t.Run("wrong password", func(t *testing.T) {
		p := newKafkaPair(t, k)
		p.Pipelines[0].Target = "kafka://" + k.AddrOf(servers.KafkaSASLTLS)
		p.set(daemon.Settings{"sasl": login("SCRAM-SHA-256", "c4nary"), "tls": daemon.Settings{"ca_file": k.CAFile}})
		p.start()
		p.halted("target.auth")
		if strings.Contains(p.Log(), "c4nary") {
			t.Error("the log holds the password")
		}
	})
	t.Run("unknown authority", func(t *testing.T) {
		p := newKafkaPair(t, k)
		p.Pipelines[0].Target = "kafka://" + k.AddrOf(servers.KafkaTLS)
		p.set(daemon.Settings{"tls": daemon.Settings{"mode": "verify-full"}})
		p.start()
		p.waiting("certificate")
		p.Kill()
		p.set(daemon.Settings{"tls": daemon.Settings{"ca_file": k.CAFile}})
		p.follow()
		p.equal()
	})
	t.Run("right revoked", func(t *testing.T) {
		p := newKafkaPair(t, k)
		p.Pipelines[0].Target = "kafka://" + k.AddrOf(servers.KafkaSASLTLS)
		p.set(daemon.Settings{"sasl": login("PLAIN", servers.KafkaPassword), "tls": daemon.Settings{"ca_file": k.CAFile}})
		p.follow()
		p.equal()
		k.DenyWrites(t, p.items())
		p.exec(`INSERT INTO items VALUES (1000, 'denied')`)
		p.halted("target.acl", p.items())
		p.unread()
	})
}
