package fileledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rowferry/rowferry/schema/fault"
)

// lock takes the lock file, or says who holds it. The file is removed when the lock is given back, so having
// locked it means nothing until it is seen that it is still the one of that name: between opening and locking, the
// holder may have removed it and a third process made another.
func lock(path, holder string) (*os.File, error) {
	for range 100 {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, Classify(fmt.Errorf("opening the lock file: %w", err))
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			by, _ := io.ReadAll(io.LimitReader(f, 1000))
			_ = f.Close()
			return nil, &fault.Error{
				Class: fault.Busy, Code: "target.locked", Endless: true,
				Err: fmt.Errorf("%s is held by %s", path, orUnknown(by)),
			}
		}
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if !stillThere(path, f) {
			_ = f.Close()
			continue
		}
		if err := writeHolder(f, holder); err != nil {
			unlock(path, f)
			return nil, Classify(fmt.Errorf("writing the lock file: %w", err))
		}
		return f, nil
	}
	return nil, fmt.Errorf("locking %s: it is made and removed again and again", path)
}

// orUnknown is the holder's name, if it left one.
func orUnknown(by []byte) string {
	if len(by) == 0 {
		return "another process"
	}
	return string(by)
}

// writeHolder says in the lock file who has it.
func writeHolder(f *os.File, holder string) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(holder), 0)
	return err
}

// unlock gives the lock back. The file is removed while it is still locked, and only if it is ours.
func unlock(path string, f *os.File) {
	if stillThere(path, f) {
		_ = os.Remove(path)
	}
	_ = f.Close()
}

// stillThere tells whether f is the file of that name.
func stillThere(path string, f *os.File) bool {
	named, err := os.Stat(path)
	if err != nil {
		return false
	}
	ours, err := f.Stat()
	return err == nil && os.SameFile(named, ours)
}

// Classify marks errors of the file system: a full disk passes by itself, a file that must not be touched does not.
// Errors that are marked already stay as they are.
func Classify(err error) error {
	var marked *fault.Error
	switch {
	case err == nil, errors.As(err, &marked):
		return err
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fault.Wait("target.disk_full", err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS), errors.Is(err, unix.ENOTDIR),
		errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.EISDIR):
		return fault.Halt("target.file_access", err,
			"make the folder and give the user Rowferry runs as the right to write into it\nthen start the pipeline again")
	}
	return err
}
