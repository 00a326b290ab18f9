package replicator

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/rowferry/rowferry/schema/fault"
)

// invariantError is a broken invariant of doc.go.
type invariantError struct {
	number int
	text   string
}

// Error names the invariant.
func (e invariantError) Error() string { return fmt.Sprintf("invariant %d: %s", e.number, e.text) }

// broken reports a broken invariant. The panic ends at the goroutine's border and halts the pipeline.
func broken(number int, format string, args ...any) {
	panic(invariantError{number: number, text: fmt.Sprintf(format, args...)})
}

// panicError is a panic that reached a goroutine's border. Its text leaves out the value, which may quote a row.
type panicError struct {
	value any
	stack []byte
}

// Error tells what is safe to tell.
func (e *panicError) Error() string {
	if i, ok := e.value.(invariantError); ok {
		return i.Error()
	}
	return fmt.Sprintf("panic with a value of type %T", e.value)
}

// protect runs f and turns a panic into an error.
func protect(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: debug.Stack()}
		}
	}()
	return f()
}

// crew is the goroutines of one attempt. The first error cancels them all; wait returns the gravest.
type crew struct {
	cancel context.CancelCauseFunc
	group  sync.WaitGroup
	mu     sync.Mutex // guards err
	err    error
}

// run starts f; its caller calls wait before it returns.
func (c *crew) run(f func() error) {
	c.group.Go(func() {
		if err := protect(f); err != nil {
			c.fail(err)
		}
	})
}

// fail notes an error and ends the attempt.
func (c *crew) fail(err error) {
	c.mu.Lock()
	if c.err == nil || gravity(err) > gravity(c.err) {
		c.err = err
	}
	c.mu.Unlock()
	c.cancel(err)
}

// wait returns when all goroutines have ended.
func (c *crew) wait() error {
	c.group.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// gravity ranks errors: what needs an operator may not hide behind what passes.
func gravity(err error) int {
	if p := (*panicError)(nil); errors.As(err, &p) {
		return 3
	}
	switch fault.ClassOf(err) {
	case fault.Fenced:
		return 2
	case fault.Terminal, fault.PerRecord:
		return 1
	default:
		return 0
	}
}
