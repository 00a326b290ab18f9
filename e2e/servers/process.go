package servers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

var errPortTaken = errors.New("the port is taken")

// initialize makes the data folder.
func (s *Server) initialize(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.Bin, "initdb"), "-D", "data", "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync")
	confine(cmd, s.Dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initializing the data folder: %w\n%s", err, out)
	}
	return nil
}

// confine makes cmd run in a server's folder, as the unprivileged user, away from our terminal.
func confine(cmd *exec.Cmd, dir string) {
	cmd.Dir = dir
	cmd.Env = []string{"HOME=/tmp", "LC_ALL=C.UTF-8", "TZ=UTC", "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
}

// launch starts the server and waits until it accepts connections.
func (s *Server) launch(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("opening the server's log: %w", err)
	}
	defer log.Close()
	args := []string{"-D", "data", "-p", strconv.Itoa(s.Port)}
	for _, option := range append(append([]string{}, baseOptions...), s.Options...) {
		args = append(args, "-c", option)
	}
	cmd := exec.Command(filepath.Join(s.Bin, "postgres"), args...)
	confine(cmd, s.Dir)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("launching the server: %w", err)
	}
	s.process = cmd.Process
	err = poll(60*time.Second, "the server to accept connections", func() bool {
		return ctx.Err() != nil || !alive(s.process.Pid) || s.ready()
	})
	switch {
	case err != nil:
		return errors.Join(err, s.Stop(syscall.SIGQUIT))
	case ctx.Err() != nil:
		return errors.Join(ctx.Err(), s.Stop(syscall.SIGQUIT))
	case !s.ready():
		text := s.Log()
		if err := s.awaitEnd(time.Second); err != nil {
			return err
		}
		if strings.Contains(text, "could not bind") {
			return errPortTaken
		}
		return fmt.Errorf("the server ended:\n%s", text)
	}
	return nil
}

// ready tells whether this very process accepts connections: a killed server leaves its file behind.
func (s *Server) ready() bool {
	text, err := os.ReadFile(filepath.Join(s.Dir, "data", "postmaster.pid"))
	lines := strings.Split(string(text), "\n")
	return err == nil && len(lines) > 7 && lines[0] == strconv.Itoa(s.process.Pid) &&
		strings.HasPrefix(lines[7], "ready") && alive(s.process.Pid)
}

// awaitEnd waits for the server's end and takes note of it.
func (s *Server) awaitEnd(limit time.Duration) error {
	if err := poll(limit, "the end of the server", func() bool { return !alive(s.process.Pid) }); err != nil {
		return err
	}
	_, err := s.process.Wait()
	s.process = nil
	if err != nil {
		return fmt.Errorf("waiting for the server's end: %w", err)
	}
	return nil
}

// poll waits until done says so.
func poll(limit time.Duration, what string, done func() bool) error {
	for deadline := time.Now().Add(limit); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("waiting %s for %s: too long", limit, what)
		}
	}
	return nil
}

// alive tells whether the process still runs; one that ended and was not waited for does not.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The name in parentheses may hold anything; the state follows it.
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')'):]), " ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func childrenOf(pid int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var children []int
	for _, field := range strings.Fields(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			children = append(children, child)
		}
	}
	return children
}

// given are the ports that FreePorts has returned.
var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// FreePorts returns the first of n ports in a row on which nothing listens, and which it has not returned before: a server
// that is about to take its port cannot be told from none. It looks below the range that the system takes for outgoing
// connections, so that no connection gets a server's port while it restarts.
func FreePorts(n int) (int, error) {
	given.Lock()
	defer given.Unlock()
tries:
	for range 100 {
		first := 20000 + rand.IntN(12000)
		for port := first; port < first+n; port++ {
			if given.ports[port] || !free(port) {
				continue tries
			}
		}
		for port := first; port < first+n; port++ {
			given.ports[port] = true
		}
		return first, nil
	}
	return 0, errors.New("finding a free port: 100 tries were in vain")
}

func free(port int) bool {
	l, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
