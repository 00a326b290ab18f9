//go:build failpoints

package failpoint

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Enabled tells whether the program was built with failpoints.
const Enabled = true

type point struct {
	action string
	left   int // times to be reached until it acts
}

var (
	once   sync.Once
	mu     sync.Mutex // guards points
	points map[string]*point
)

// Hit is the place called name. It returns an error only when armed with one.
func Hit(ctx context.Context, name string) error {
	once.Do(arm)
	mu.Lock()
	p := points[name]
	act := false
	if p != nil && p.left > 0 {
		p.left--
		act = p.left == 0
	}
	mu.Unlock()
	if !act {
		return nil
	}
	fmt.Fprintf(os.Stderr, "failpoint %s: %s\n", name, p.action)
	return perform(ctx, name, p.action)
}

// perform does what an armed point asks for.
func perform(ctx context.Context, name, action string) error {
	verb, rest, _ := strings.Cut(action, ":")
	switch verb {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "error":
		return fmt.Errorf("failpoint %s", name)
	case "hang":
		<-ctx.Done()
		return context.Cause(ctx)
	case "delay":
		d, err := time.ParseDuration(rest)
		if err != nil {
			panic(err)
		}
		time.Sleep(d)
	case "panic":
		panic("failpoint " + name)
	default:
		panic("failpoint " + name + ": unknown action " + action)
	}
	return nil
}

// arm reads the environment.
func arm() {
	points = map[string]*point{}
	for _, entry := range strings.Split(os.Getenv("ROWFERRY_FAILPOINTS"), ";") {
		name, action, ok := strings.Cut(entry, "=")
		if !ok {
			continue
		}
		action, nth, counted := strings.Cut(action, "@")
		left := 1
		if counted {
			n, err := strconv.Atoi(nth)
			if err != nil || n < 1 {
				panic("ROWFERRY_FAILPOINTS: " + entry)
			}
			left = n
		}
		points[name] = &point{action: action, left: left}
	}
}
