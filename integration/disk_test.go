package integration

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// TestFullDisk fills the disk under the record. Messages that cannot be recorded
// are refused, everything else goes on, and room on the disk is all it takes to
// go on. It mounts a small file system, which only root may do.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	t.Parallel()
	s := startServerWith(t, setup{accounts: []account{alice, bob, carol}, before: func(s *server) {
		dir := filepath.Join(s.data, "archive")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m,mode=0700"); err != nil {
			t.Fatalf("mount a small file system on %s: %v", dir, err)
		}
		t.Cleanup(func() {
			s.kill()
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}})
	sender, receiver := newPhone(t, s.addr, "tcp", alice), newPhone(t, s.addr, "udp", bob)
	receiver.mustRegister()
	sender.mustMessage(bob, "before", 200)

	ballast := filepath.Join(s.data, "archive", "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(bytes.Repeat([]byte{1}, 4096))
	}
	if f.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
	// The journal may still have room in a block, or in space it took before.
	var refused *packet
	for range 2000 {
		a := sender.message(bob, string(bytes.Repeat([]byte("x"), 20000)))
		if a.status() == 503 {
			refused = a
			break
		}
		if a.status() != 200 {
			t.Fatalf("MESSAGE on a full disk: %s", a.first)
		}
	}
	if refused == nil {
		t.Fatal("no MESSAGE was refused on a full disk")
	}
	if after, err := strconv.Atoi(refused.get("Retry-After")); err != nil || after < 1 {
		t.Errorf("503 with Retry-After %q", refused.get("Retry-After"))
	}
	taken := len(receiver.texts())
	receiver.mustRegister()
	newPhone(t, s.addr, "tcp", carol).mustRegister()
	if status, body := s.get("/readyz"); status != 503 {
		t.Errorf("/readyz on a full disk: %d %s", status, body)
	}
	if n := len(receiver.texts()); n != taken {
		t.Errorf("the receiver has %d texts, had %d: a refused message was delivered", n, taken)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.eventually(20e9, "working again", func() error {
		if a := sender.message(bob, "after"); a.status() != 200 {
			return errors.New(a.first)
		}
		return nil
	})
	s.mustVerify()
	s.kill()
	s.mustVerify()
	s.start()
	newPhone(t, s.addr, "tcp", alice).mustMessage(bob, "at last", 200)
	s.mustVerify()
}
