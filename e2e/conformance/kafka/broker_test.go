package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestAskBelievesOnlyAKeeperThatLives(t *testing.T) {
	folder := t.TempDir()
	address := filepath.Join(folder, addressName)
	if err := os.WriteFile(address, []byte("old:1"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, kept, err := ask(folder)
	if got != "" || kept || err != nil {
		t.Errorf("got %q, kept %v and error %v of a keeper that was killed, want none", got, kept, err)
	}
	keeper, err := lock(folder, keeperName, syscall.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	defer keeper.Close()
	if got, kept, err := ask(folder); got != "" || !kept || err != nil {
		t.Errorf("got %q, kept %v and error %v of a keeper that begins, want kept without an address", got, kept, err)
	}
	if err := os.WriteFile(address, []byte("new:1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, kept, err := ask(folder); got != "new:1" || !kept || err != nil {
		t.Errorf("got %q, kept %v and error %v of a keeper that lives, want new:1", got, kept, err)
	}
}

func TestBrokerIsKeptWhileUsed(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, addressName), []byte("a:1"), 0o600); err != nil {
		t.Fatal(err)
	}
	use, err := lock(folder, useName, syscall.LOCK_SH)
	if err != nil {
		t.Fatal(err)
	}
	longAgo := time.Now().Add(-2 * idle)
	if err := os.Chtimes(use.Name(), longAgo, longAgo); err != nil {
		t.Fatal(err)
	}
	used := longAgo
	if over, err := unused(folder, &used); over || err != nil || time.Since(used) > time.Minute {
		t.Errorf("got over %v, used at %v and error %v while somebody reads, want used now", over, used, err)
	}
	use.Close()
	if over, err := unused(folder, &used); over || err != nil {
		t.Errorf("got over %v and error %v just after, want kept", over, err)
	}
	used = longAgo
	if over, err := unused(folder, &used); !over || err != nil {
		t.Errorf("got over %v and error %v long after, want over", over, err)
	}
	if _, err := os.Stat(filepath.Join(folder, addressName)); !os.IsNotExist(err) {
		t.Errorf("got error %v for the address of a broker that ends, want that it is gone", err)
	}
	used = longAgo
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if over, err := unused(folder, &used); !over || err != nil {
		t.Errorf("got over %v and error %v without the folder, want over", over, err)
	}
}
