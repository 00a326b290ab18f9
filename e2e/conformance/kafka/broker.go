package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rowferry/rowferry/e2e/servers"
)

// The files of a broker's folder.
const (
	keeperName  = "keeper"  // locked by the broker's keeper for as long as it lives
	useName     = "use"     // locked, shared, by everyone who uses the broker; the keeper ends under the lock alone
	addressName = "address" // host:port, while the broker serves
	logName     = "log"     // what the keeper says
)

const (
	// idle is how long a broker is kept for the next case.
	idle = 2 * time.Minute
	// startLimit bounds the wait for a broker that may have to be installed.
	startLimit = 5 * time.Minute
)

// find returns the address of the folder's broker, and starts one when there is none.
func find(ctx context.Context, folder string) (string, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("making the broker's folder: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("no broker was there within %s", startLimit))
	defer cancel()
	started := false
	for {
		address, kept, err := ask(folder)
		switch {
		case err != nil || address != "":
			return address, err
		case !kept && started:
			text, err := os.ReadFile(filepath.Join(folder, logName))
			return "", errors.Join(fmt.Errorf("starting a broker: %s", strings.TrimSpace(string(text))), err)
		case !kept:
			if err := launch(ctx, folder); err != nil {
				return "", err
			}
			started = true
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ask looks for a broker that serves, and tells whether anybody keeps one or is about to.
func ask(folder string) (address string, kept bool, err error) {
	use, err := lock(folder, useName, syscall.LOCK_SH)
	if err != nil {
		return "", false, err
	}
	defer use.Close()
	keeper, err := lock(folder, keeperName, syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil { // nobody has it, and what they left says nothing
		defer keeper.Close()
		if err := os.Remove(filepath.Join(folder, addressName)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", false, fmt.Errorf("removing an old address: %w", err)
		}
		return "", false, nil
	}
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return "", false, err
	}
	text, err := os.ReadFile(filepath.Join(folder, addressName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", true, fmt.Errorf("reading the broker's address: %w", err)
	}
	now := time.Now()
	return string(text), true, os.Chtimes(use.Name(), now, now)
}

// launch starts a keeper in a session of its own and waits until it has begun, or has ended again.
func launch(ctx context.Context, folder string) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("looking for this program: %w", err)
	}
	log, err := os.Create(filepath.Join(folder, logName))
	if err != nil {
		return fmt.Errorf("opening the keeper's log: %w", err)
	}
	defer log.Close()
	begun, told, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}
	defer begun.Close()
	defer told.Close()
	// Not by ctx: it outlives this process.
	keeper := exec.CommandContext(context.WithoutCancel(ctx), program, "keep", folder)
	keeper.Stdout, keeper.Stderr, keeper.Dir = told, log, "/"
	keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := keeper.Start(); err != nil {
		return fmt.Errorf("starting the keeper: %w", err)
	}
	told.Close()
	if _, err := begun.Read(make([]byte, 1)); err != nil {
		return errors.Join(fmt.Errorf("waiting for the keeper to begin: %w", err), keeper.Wait())
	}
	return keeper.Process.Release()
}

// keep runs a broker until nobody has used it for a while, or its folder is gone. A second keeper ends at once.
func keep(ctx context.Context, folder string) error {
	keeper, err := lock(folder, keeperName, syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, "begun"); err != nil || keeper == nil {
		return err
	}
	defer keeper.Close()
	os.Stdout.Close()
	kafka, err := servers.StartKafka(ctx, servers.KafkaOptions{})
	if err != nil {
		return err
	}
	address := filepath.Join(folder, addressName)
	err = replace(address, []byte(kafka.Addr()))
	for used := time.Now(); err == nil && ctx.Err() == nil; {
		var over bool
		if over, err = unused(folder, &used); over {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
	if gone := os.Remove(address); !errors.Is(gone, os.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return errors.Join(err, kafka.Remove())
}

// unused tells whether the time is over. Then nobody can be told the address any more.
func unused(folder string, used *time.Time) (bool, error) {
	use, err := lock(folder, useName, syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		*used = time.Now()
		return false, nil
	case errors.Is(err, os.ErrNotExist):
		return true, nil
	case err != nil:
		return false, err
	}
	defer use.Close()
	info, err := use.Stat()
	if err != nil {
		return false, fmt.Errorf("looking at %s: %w", use.Name(), err)
	}
	if info.ModTime().After(*used) {
		*used = info.ModTime()
	}
	if time.Since(*used) < idle {
		return false, nil
	}
	return true, os.Remove(filepath.Join(folder, addressName))
}

// lock opens a file of the folder and locks it until it is closed.
func lock(folder, name string, how int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(folder, name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening a lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	return f, nil
}
