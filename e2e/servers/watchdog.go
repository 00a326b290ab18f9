package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// A watchdog is a shell that reads from a pipe whose other end only this process holds. The pipe ends with
// the process, however it ends; then the shell kills the folder's server and removes the folder.
type watchdog struct {
	process *os.Process
	pipe    *os.File
}

const watchdogScript = `
trap '' HUP INT TERM
while read -r order; do [ "$order" = release ] && exit; done
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
running() { [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; }
running "$1" && kill -QUIT "$pid"
left=100
while running "$1"; do
	sleep 0.1
	left=$((left - 1))
	[ "$left" -gt 0 ] || kill -KILL "$pid"
done
cd / && rm -rf "$1"
`

// kafkaWatchdog knows the brokers by where they run.
const kafkaWatchdog = `
trap '' HUP INT TERM
while read -r order; do [ "$order" = release ] && exit; done
for process in /proc/[0-9]*; do
	[ "$(cat "$process/comm" 2>/dev/null)" = java ] || continue
	case $(readlink "$process/cwd") in "$1"/*) kill -KILL "${process#/proc/}" ;; esac
done
left=50
cd / && until rm -rf "$1" || [ $left = 0 ]; do # a dying broker may still write
	left=$((left - 1))
	sleep 0.1
done
`

func watch(dir string) (*watchdog, error) { return startWatchdog(watchdogScript, dir) }

func startWatchdog(script, dir string) (*watchdog, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making the watchdog's pipe: %w", err)
	}
	defer r.Close()
	cmd := exec.Command("sh", "-c", script, "watchdog", dir)
	cmd.Stdin = r
	// Away from the terminal, whose signals are for us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the watchdog: %w", err), w.Close())
	}
	return &watchdog{process: cmd.Process, pipe: w}, nil
}

// release ends the watchdog without its doing anything.
func (w *watchdog) release() error {
	if w == nil || w.process == nil {
		return nil
	}
	_, err := w.pipe.WriteString("release\n")
	err = errors.Join(err, w.pipe.Close())
	_, waited := w.process.Wait()
	w.process = nil
	return errors.Join(err, waited)
}
