package integration

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// TestFullDisk fills the disk under the record. Messages that cannot be recorded
// are refused, everything else goes on, and room on the disk is all it takes to
// go on.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		asRoot(t)
		return
	}
	t.Parallel()
	s := startServerWith(t, setup{accounts: []account{alice, bob, carol}, before: func(s *server) {
		smallDisk(t, s, filepath.Join(s.data, "archive"))
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

// smallDisk puts a file system of a few megabytes in the place of dir: a mount
// of its own, or, in a container that must not mount, the small /dev/shm that
// containers have.
func smallDisk(t *testing.T, s *server, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m,mode=0700")
	if err == nil {
		t.Cleanup(func() {
			s.kill()
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		return
	}
	const shared, small = "/dev/shm", 256 << 20
	var fs syscall.Statfs_t
	if e := syscall.Statfs(shared, &fs); e != nil || fs.Blocks*uint64(fs.Bsize) > small {
		t.Fatalf("no small file system: mount: %v; %s has %d bytes, %v", err, shared, fs.Blocks*uint64(fs.Bsize), e)
	}
	other, err := os.MkdirTemp(shared, "rollcall-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.kill()
		os.RemoveAll(other)
	})
	if err := errors.Join(os.Remove(dir), os.Symlink(other, dir)); err != nil {
		t.Fatal(err)
	}
}

// asRoot runs the test again in name spaces where this user may mount.
func asRoot(t *testing.T) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "ROLLCALL_BINARY="+binary)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("PASS: "+t.Name())) {
		t.Fatalf("as root of a name space: %v\n%s", err, tail(out, 8000))
	}
}
