package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// StandbyForTest makes a hot standby of a server that is the test's own, which is restarted for it. Promote it with
// pg_promote().
func StandbyForTest(tb testing.TB, s *Server, options ...string) *Server {
	tb.Helper()
	standby, err := s.standby(tb.Context(), options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := standby.Remove(); err != nil {
			tb.Errorf("removing the standby: %v", err)
		}
	})
	return standby
}

func (s *Server) standby(ctx context.Context, options []string) (*Server, error) {
	dir, err := makeFolder("", s.Major)
	if err != nil {
		return nil, err
	}
	primary := fmt.Sprintf("primary_conninfo=host=127.0.0.1 port=%d user=postgres", s.Port)
	o := &Server{
		Major: s.Major, Dir: dir, Bin: s.Bin, CAFile: filepath.Join(dir, "server.crt"),
		Options: append(append(append([]string{}, s.Options...), primary), options...),
	}
	if o.watchdog, err = watch(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := o.begetBy(ctx, s); err != nil {
		return nil, errors.Join(fmt.Errorf("making a standby: %w", err), o.Remove())
	}
	return o, nil
}

// begetBy copies the data of a server while it is stopped, starts both, and waits until the standby follows.
func (s *Server) begetBy(ctx context.Context, primary *Server) error {
	if err := primary.Stop(syscall.SIGINT); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(s.Dir, "data"), os.DirFS(filepath.Join(primary.Dir, "data"))); err != nil {
		return fmt.Errorf("copying the data folder: %w", err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "data", "standby.signal"), nil, 0o600); err != nil {
		return err
	}
	err := filepath.WalkDir(filepath.Join(s.Dir, "data"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		return errors.Join(err, own(path))
	})
	if err != nil {
		return err
	}
	if err := certify(s.Dir); err != nil {
		return err
	}
	if err := primary.Restart(ctx); err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		if s.Port, err = FreePorts(1); err != nil {
			return err
		}
		err = s.launch(ctx)
		if err == nil || attempt == 5 || !errors.Is(err, errPortTaken) {
			return err
		}
	}
}

// Hosts is host:port of several servers, as a URL lists them.
func Hosts(servers ...*Server) string {
	hosts := make([]string, len(servers))
	for i, s := range servers {
		hosts[i] = fmt.Sprintf("127.0.0.1:%d", s.Port)
	}
	return strings.Join(hosts, ",")
}
