package servers

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rowferry/rowferry/e2e/install"
)

// nobody is the user and group that servers run as when root starts them: Postgres refuses to be root.
const nobody = 65534

// baseOptions are set at every server; options given to Start and Restart override them.
var baseOptions = []string{
	"listen_addresses=127.0.0.1", "unix_socket_directories=", "wal_level=logical",
	"max_replication_slots=50", "max_wal_senders=50", "max_connections=200",
	"max_prepared_transactions=10", "track_commit_timestamp=on", "fsync=off", "full_page_writes=off",
	"ssl=on", "ssl_cert_file=../server.crt", "ssl_key_file=../server.key",
}

// Server is one Postgres server. Its fields are read only. Methods are not safe to call beside each other,
// except NewDatabase and URL.
type Server struct {
	Major   int
	Port    int
	Dir     string   // holds data, log and certificate; empty for a given server
	Bin     string   // folder of postgres and initdb; empty for a given server
	Options []string // name=value, later ones win
	CAFile  string   // verifies the server's certificate for localhost and 127.0.0.1

	given    *url.URL // of a server that is not ours
	process  *os.Process
	watchdog *watchdog
}

// Start installs the major version when it is missing, makes a server in the folder dir and waits until it
// answers. An empty dir means a new folder; either is removed by Remove or after the end of this process.
// The folder's parents must be open to other users when root calls. Options read name=value.
func Start(ctx context.Context, major int, dir string, options ...string) (*Server, error) {
	bin, err := install.PostgresServer(ctx, major)
	if err != nil {
		return nil, err
	}
	if dir, err = makeFolder(dir, major); err != nil {
		return nil, err
	}
	s := &Server{Major: major, Dir: dir, Bin: bin, Options: options, CAFile: filepath.Join(dir, "server.crt")}
	if s.watchdog, err = watch(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting Postgres %d: %w", major, err), s.Remove())
	}
	return s, nil
}

func makeFolder(dir string, major int) (string, error) {
	if dir == "" {
		made, err := os.MkdirTemp("", fmt.Sprintf("rowferry-pg%d-", major))
		if err != nil {
			return "", fmt.Errorf("making the server's folder: %w", err)
		}
		dir = made
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("making the server's folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making the server's folder: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", fmt.Errorf("opening the server's folder: %w", err)
	}
	return dir, own(dir)
}

// own gives a file to the user that servers run as.
func own(path string) error {
	if os.Getuid() != 0 {
		return nil
	}
	return os.Chown(path, nobody, nobody)
}

func (s *Server) begin(ctx context.Context) error {
	if err := certify(s.Dir); err != nil {
		return err
	}
	if err := s.initialize(ctx); err != nil {
		return err
	}
	// A port that was free may be taken before the server binds it.
	for attempt := 1; ; attempt++ {
		port, err := FreePorts(1)
		if err != nil {
			return err
		}
		s.Port = port
		err = s.launch(ctx)
		if err == nil || attempt == 5 || !errors.Is(err, errPortTaken) {
			return err
		}
	}
}

// URL names a database of the server for its superuser, without a password and without TLS.
func (s *Server) URL(database string) string {
	if s.given != nil {
		u := *s.given
		u.Path = "/" + database
		return u.String()
	}
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + database, RawQuery: "sslmode=disable"}
	u.Host = "127.0.0.1:" + strconv.Itoa(s.Port)
	return u.String()
}

// Stop ends the server by a signal (SIGTERM waits for clients, SIGINT ends them, SIGQUIT does so without a
// checkpoint) and waits for its end. A stopped server stays stopped.
func (s *Server) Stop(sig syscall.Signal) error {
	if s.given != nil {
		return errors.New("stopping a server that was given: it is not ours")
	}
	if s.process == nil {
		return nil
	}
	if err := s.process.Signal(sig); err != nil {
		return fmt.Errorf("stopping the server: %w", err)
	}
	return s.awaitEnd(60 * time.Second)
}

// Kill ends the server and all its processes at once by SIGKILL, as a crash does.
func (s *Server) Kill() error {
	if s.given != nil {
		return errors.New("killing a server that was given: it is not ours")
	}
	if s.process == nil {
		return nil
	}
	// Stopped first, it starts no further process between being asked for them and being killed.
	if err := s.process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("killing the server: %w", err)
	}
	children := childrenOf(s.process.Pid)
	if err := s.process.Kill(); err != nil {
		return fmt.Errorf("killing the server: %w", err)
	}
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
	}
	if err := s.awaitEnd(30 * time.Second); err != nil {
		return err
	}
	// A new server refuses to start while an old process still holds the shared memory.
	return poll(30*time.Second, "the end of the server's processes", func() bool {
		for _, pid := range children {
			if alive(pid) {
				return false
			}
		}
		return true
	})
}

// Restart stops the server, when it runs, and starts it again on the same port and data; the options are
// added to those it had.
func (s *Server) Restart(ctx context.Context, options ...string) error {
	if err := s.Stop(syscall.SIGINT); err != nil {
		return err
	}
	s.Options = append(s.Options, options...)
	for attempt := 1; ; attempt++ {
		err := s.launch(ctx)
		if err == nil || attempt == 5 || !errors.Is(err, errPortTaken) {
			return err
		}
	}
}

// Remove ends the server, when it runs, and removes its folder.
func (s *Server) Remove() error {
	if s.given != nil {
		return nil
	}
	err := s.Stop(syscall.SIGQUIT)
	return errors.Join(err, s.watchdog.release(), os.RemoveAll(s.Dir))
}

// Log returns the end of what the server wrote, for messages of tests.
func (s *Server) Log() string {
	text, err := os.ReadFile(filepath.Join(s.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
