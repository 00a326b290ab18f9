package servers

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

// childEnv makes the test binary a process that starts a server, says where, and waits to be killed.
const childEnv = "ROWFERRY_SERVERS_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

func child() {
	if os.Getenv(childEnv) == "kafka" {
		kafkaChild()
		time.Sleep(time.Minute)
		return
	}
	s, err := Start(context.Background(), 15, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Dir, s.process.Pid)
	time.Sleep(time.Minute)
}

func query(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var got string
	if err := conn.QueryRow(t.Context(), sql).Scan(&got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestNewDatabaseIsDroppedWithItsSlots(t *testing.T) {
	s := ForTest(t, 15)
	t.Run("use", func(t *testing.T) {
		url := s.NewDatabase(t)
		Exec(t, url, `CREATE TABLE t (id int); INSERT INTO t VALUES (1)`,
			`SELECT pg_create_logical_replication_slot('left_behind', 'pgoutput')`)
		if got := query(t, url, `SELECT current_setting('wal_level')`); got != "logical" {
			t.Errorf("got wal_level %s, want logical", got)
		}
	})
	const left = `SELECT (SELECT count(*) FROM pg_replication_slots)::text || ' ' ||
		(SELECT count(*) FROM pg_database WHERE datname LIKE 'testnewdatabase%')`
	if got := query(t, s.URL("postgres"), left); got != "0 0" {
		t.Errorf("got %q slots and databases left, want 0 0", got)
	}
}

func TestRestartAndKillKeepTheData(t *testing.T) {
	s := StartForTest(t, 15, "work_mem=5MB")
	url := s.NewDatabase(t)
	Exec(t, url, `CREATE TABLE t (v text)`, `INSERT INTO t VALUES ('kept')`)
	if err := s.Restart(t.Context(), "work_mem=6MB"); err != nil {
		t.Fatal(err)
	}
	if got := query(t, url, `SHOW work_mem`); got != "6MB" {
		t.Errorf("got work_mem %s, want 6MB", got)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if conn, err := pgx.Connect(t.Context(), url); err == nil {
		_ = conn.Close(t.Context())
		t.Error("got a connection to a killed server, want none")
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query(t, url, `SELECT v FROM t`); got != "kept" {
		t.Errorf("got %q after a crash, want kept", got)
	}
}

func TestCertificateIsVerified(t *testing.T) {
	s := ForTest(t, 15)
	url := strings.Replace(s.URL("postgres"), "sslmode=disable", "sslmode=verify-full&sslrootcert="+s.CAFile, 1)
	if got := query(t, url, `SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()`); got != "true" {
		t.Errorf("got ssl %s, want true", got)
	}
}

// startChild has a process of its own start a server, kills the process, and returns the server's folder and pid.
func startChild(t *testing.T, what string) (dir string, pid int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+what)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(line, &dir, &pid); err != nil {
		t.Fatalf("starting a server in the child: %s", line)
	}
	if !alive(pid) {
		t.Fatal("the server does not run")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as asked
	return dir, pid
}

func TestServerEndsWithItsProcess(t *testing.T) {
	dir, pid := startChild(t, "postgres")
	err := poll(20*time.Second, "the watchdog", func() bool {
		_, gone := os.Stat(dir)
		return !alive(pid) && os.IsNotExist(gone)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestGivenServer(t *testing.T) {
	t.Setenv("ROWFERRY_TEST_PG14", "postgres://me:pw@db:6000/postgres?sslmode=require")
	s, err := givenServer(14)
	if err != nil {
		t.Fatal(err)
	}
	want := "postgres://me:pw@db:6000/x?sslmode=require"
	if got := s.URL("x"); got != want || s.Port != 6000 {
		t.Errorf("got %s and port %d, want %s and 6000", got, s.Port, want)
	}
	if s.Kill() == nil || s.Restart(t.Context()) == nil {
		t.Error("got a killed server that was given, want it left alone")
	}
}

func TestEveryMajorStarts(t *testing.T) {
	for _, major := range []int{14, 16, 17, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			s := StartForTest(t, major)
			want := fmt.Sprint(major)
			if got := query(t, s.NewDatabase(t), `SHOW server_version`); !strings.HasPrefix(got, want) {
				t.Errorf("got version %s, want %s", got, want)
			}
		})
	}
}
