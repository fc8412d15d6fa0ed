package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"rollcall/config"
	"rollcall/sip"
)

// envPassword is the environment variable with a password.
const envPassword = "ROLLCALL_PASSWORD"

// errNoPassword means that a password was given in none of the ways.
var errNoPassword = errors.New("no password given")

// givenPassword takes a password from --password-file or ROLLCALL_PASSWORD, else errNoPassword.
func (a *app) givenPassword(file string) (string, error) {
	if file == "" {
		if p := os.Getenv(envPassword); p != "" {
			return p, nil
		}
		return "", errNoPassword
	}
	in := a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("password file: %w", err)
		}
		defer f.Close()
		in = f
	}
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("password file: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fmt.Errorf("password file %s: its first line is empty", file)
	}
	return line, nil
}

// newPassword takes a password as given, or asks for it twice on a terminal.
func (a *app) newPassword(c *cobra.Command, file, aor string) (string, error) {
	password, err := a.givenPassword(file)
	if !errors.Is(err, errNoPassword) {
		return password, err
	}
	if !isTerminalInput(a.stdin) {
		return "", usage(c, "no password: give --password-file or %s, or run it on a terminal", envPassword)
	}
	fd := int(a.stdin.(*os.File).Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(a.stderr, prompt)
		answer, err := interruptible(c.Context(), func() (string, error) {
			b, err := term.ReadPassword(fd)
			return string(b), err
		})
		fmt.Fprintln(a.stderr)
		if err != nil {
			// An interrupted prompt leaves the terminal without echo.
			return "", fmt.Errorf("read password: %w", errors.Join(err, term.Restore(fd, before)))
		}
		return answer, nil
	}
	for range 3 {
		first, err := ask("Password for " + aor + ": ")
		if err != nil {
			return "", err
		}
		second, err := ask("Again: ")
		switch {
		case err != nil:
			return "", err
		case first == "":
			a.note("An empty password is not accepted.")
		case first != second:
			a.note("The two differ.")
		default:
			return first, nil
		}
	}
	return "", errors.New("no password was given twice alike; nothing has changed")
}

// interruptible waits for an answer of a person, or for a signal. A reader that is left behind ends with the process.
func interruptible(ctx context.Context, read func() (string, error)) (string, error) {
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		text, err := read()
		answers <- answer{text, err}
	}()
	select {
	case a := <-answers:
		return a.text, a.err
	case <-ctx.Done():
		return "", errors.New("interrupted")
	}
}

// parseAOR reads an address as people write it: alice, alice@example.com, sip:alice@example.com. A bare name is in
// the first domain; cfg may be nil, then a bare name is refused.
func parseAOR(c *cobra.Command, cfg *config.Config, s string) (sip.AOR, error) {
	text := s
	if lower := strings.ToLower(text); !strings.HasPrefix(lower, "sip:") && !strings.HasPrefix(lower, "sips:") {
		text = "sip:" + text
	}
	if !strings.Contains(text, "@") {
		if cfg == nil || len(cfg.Domains) == 0 {
			return sip.AOR{}, usage(c, "%q has no domain, and no configuration says which; write %s@example.com", s, s)
		}
		text += "@" + cfg.Domains[0]
	}
	aor, err := sip.ParseAORString(text)
	if err != nil {
		return sip.AOR{}, usage(c, "%q is not an address; write alice, alice@example.com or sip:alice@example.com", s)
	}
	return aor, nil
}

// ownAOR is parseAOR of an account: its domain must be one of the server's.
func ownAOR(c *cobra.Command, cfg *config.Config, s string) (sip.AOR, error) {
	aor, err := parseAOR(c, cfg, s)
	if err != nil {
		return aor, err
	}
	for _, d := range cfg.Domains {
		if strings.EqualFold(d, aor.Domain()) {
			return aor, nil
		}
	}
	return sip.AOR{}, fmt.Errorf("%s is in none of the domains of this server (%s); name one of them or add it to domains", aor, strings.Join(cfg.Domains, ", "))
}

// isTerminalInput reports whether a person can answer.
func isTerminalInput(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
