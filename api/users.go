package api

import (
	"context"
	"errors"
	"io"
)

// User is an account as administrators see it. The password, and what is kept in its place, is not shown.
type User struct {
	AOR         string   `json:"aor"`
	DisplayName string   `json:"display_name,omitempty"`
	Email       string   `json:"email,omitempty"`
	Unit        string   `json:"unit,omitempty"` // business unit that is charged
	Groups      []string `json:"groups,omitempty"`
	Disabled    bool     `json:"disabled"`
	// ReuseName makes a new account under a name whose quarantine runs.
	ReuseName bool `json:"reuse_name,omitempty"`
}

// Imported counts what an import did.
type Imported struct {
	Added     int `json:"added"`
	Changed   int `json:"changed"`
	Unchanged int `json:"unchanged"`
}

// Errors of [Users], the same whether the accounts are reached over the socket or in the store. Each is wrapped
// with the account that is meant.
var (
	ErrExists   = errors.New("account exists")
	ErrNotFound = errors.New("no such account")
	// ErrInvalid wraps what the caller has to change: an AOR, a password, a line of an import.
	ErrInvalid = errors.New("invalid")
	// ErrRefused wraps why something is not done now, such as a hold that stands against an erasure.
	ErrRefused = errors.New("refused")
	// ErrForbidden wraps that the caller may not, whatever the state of things.
	ErrForbidden = errors.New("forbidden")
	// ErrMoved wraps that what If-Match names is not there any more (RFC 9110 §13.1.1).
	ErrMoved = errors.New("moved")
	// ErrUnderWay wraps that the first request with an Idempotency-Key has no answer yet.
	ErrUnderWay = errors.New("under way")
	// ErrReused wraps that an Idempotency-Key was used for something else.
	ErrReused = errors.New("key is in use")
)

// Users are the accounts. AORs are given in the form "sip:alice@example.com". Changes are durable when the call
// returns. All methods are safe for concurrent use.
type Users interface {
	// Add makes a new account, or says ErrExists, or ErrRefused while the name is in quarantine.
	Add(ctx context.Context, u User, password string) error
	// List calls each for every account in the order of AORs, until it returns an error, which List returns.
	List(ctx context.Context, each func(User) error) error
	// SetPassword replaces the password of an account.
	SetPassword(ctx context.Context, aor, password string) error
	// SetDisabled locks an account out, or lets it in again.
	SetDisabled(ctx context.Context, aor string, disabled bool) error
	// Delete removes an account with all that is kept for it but the record, where who did it and why is stated. Its name is
	// in quarantine then. Without a running server it is ErrRefused.
	Delete(ctx context.Context, aor, reason string) error
	// Import adds and changes accounts from CSV with the header aor,password,display_name,email,unit,groups. A
	// faulty line refuses the whole file with ErrInvalid, the line and the reason, one fault a line. progress may
	// be nil; it is called now and then, by one goroutine, with the lines done.
	Import(ctx context.Context, csv io.Reader, progress func(done int)) (Imported, error)
	// Export writes the accounts in the form that Import reads, with empty passwords: an import then leaves the
	// passwords of accounts as they are.
	Export(ctx context.Context, csv io.Writer) error
	Aliases
}

// namedError has the text of whoever found the error, package auth or the server at the other end of the socket, and
// is the error of this package that it stands for.
type namedError struct {
	text string
	is   error
}

// NotFound is ErrNotFound of something that is no account.
func NotFound(text string) error { return &namedError{text, ErrNotFound} }

func (e *namedError) Error() string { return e.text }
func (e *namedError) Unwrap() error { return e.is }
