package auth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"rollcall/sip"
	"rollcall/sip/digest"
	"rollcall/store"
)

// Account is one user of one of our domains.
type Account struct {
	AOR         sip.AOR
	Secrets     digest.Secrets `json:"-"` // for user AOR.User() and realm AOR.Domain()
	DisplayName string
	Email       string
	Unit        string // business unit that is charged
	Groups      []string
	Disabled    bool      // cannot log in; mail for it is kept
	Created     time.Time // UTC, to the millisecond, as Changed
	Changed     time.Time

	// extra are the stored fields that this release does not know.
	extra string
}

// Limits of an account's fields, in bytes.
const (
	MaxName     = 256 // DisplayName, Unit, each of Groups
	MaxEmail    = 320
	MaxGroups   = 256
	MaxPassword = 512
)

var (
	// ErrNoAccount is returned for an AOR that has no account.
	ErrNoAccount = errors.New("no such account")

	// ErrExists is returned by Add for an AOR that has an account.
	ErrExists = errors.New("account exists")

	// ErrDomain is returned for an account outside our domains.
	ErrDomain = errors.New("not one of our domains")

	// ErrPassword is returned for a password that no account can have. It never
	// holds the password.
	ErrPassword = fmt.Errorf("a password is 1 to %d bytes of UTF-8 without control characters", MaxPassword)

	// ErrNoPassword is returned for a new account without one.
	ErrNoPassword = errors.New("a new account needs a password")
)

// checkText refuses what can't stand in a header, a line of CSV or a console.
func checkText(what, s string, most int) error {
	if len(s) > most {
		return fmt.Errorf("%s is longer than %d bytes", what, most)
	}
	if !plainText(s) {
		return fmt.Errorf("%s is not UTF-8 or has control characters", what)
	}
	return nil
}

func plainText(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

func checkPassword(s string) error {
	if s == "" || len(s) > MaxPassword || !plainText(s) {
		return ErrPassword
	}
	return nil
}

// check validates the fields that people write.
func (a *Account) check() error {
	if len(a.Groups) > MaxGroups {
		return fmt.Errorf("more than %d groups", MaxGroups)
	}
	for _, g := range a.Groups {
		if g == "" || strings.Contains(g, ";") {
			return errors.New("a group name is empty or has a semicolon")
		}
		if err := checkText("group", g, MaxName); err != nil {
			return err
		}
	}
	return errors.Join(
		checkText("display name", a.DisplayName, MaxName),
		checkText("email", a.Email, MaxEmail),
		checkText("unit", a.Unit, MaxName))
}

// The stored form, version 1: a head of fixed length, so that a login reads the
// secrets where they lie, and behind it fields of tag, length (uvarints) and
// value. The AOR is the first of them. Fields of tags that are not known are kept.
const (
	valueVersion = 1

	atFlags     = 1
	atCreated   = 2 // Unix milliseconds, big endian, as Changed
	atChanged   = 10
	atMD5       = 18
	atSHA256    = atMD5 + 16
	atSHA512256 = atSHA256 + 32
	atFields    = atSHA512256 + 32

	flagDisabled = 1 << 0

	tagAOR         = 1
	tagDisplayName = 2
	tagEmail       = 3
	tagUnit        = 4
	tagGroup       = 5 // one field for each group
)

// accountKind has one item, with the empty ID, for each owner, an AOR.
var accountKind = store.NewKind("account", store.Durable, store.Hot).WithHints()

var errValue = errors.New("stored account is damaged")

// encode returns the stored form in memory of its own.
func (a *Account) encode() []byte {
	b := make([]byte, atFields, atFields+len(a.AOR.String())+len(a.DisplayName)+len(a.Email)+len(a.Unit)+len(a.extra)+32*len(a.Groups)+12)
	b[0] = valueVersion
	if a.Disabled {
		b[atFlags] |= flagDisabled
	}
	binary.BigEndian.PutUint64(b[atCreated:], uint64(a.Created.UnixMilli()))
	binary.BigEndian.PutUint64(b[atChanged:], uint64(a.Changed.UnixMilli()))
	copy(b[atMD5:], a.Secrets.MD5[:])
	copy(b[atSHA256:], a.Secrets.SHA256[:])
	copy(b[atSHA512256:], a.Secrets.SHA512256[:])
	b = appendValueField(b, tagAOR, a.AOR.String())
	b = appendValueField(b, tagDisplayName, a.DisplayName)
	b = appendValueField(b, tagEmail, a.Email)
	b = appendValueField(b, tagUnit, a.Unit)
	for _, g := range a.Groups {
		b = appendValueField(b, tagGroup, g)
	}
	return append(b, a.extra...)
}

func appendValueField(b []byte, tag uint64, s string) []byte {
	if s == "" {
		return b
	}
	b = binary.AppendUvarint(b, tag)
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// nextValueField takes one field.
func nextValueField(s string) (tag uint64, value, rest string, err error) {
	tag, s, ok := cutUvarint(s)
	n, s, ok2 := cutUvarint(s)
	if !ok || !ok2 || n > uint64(len(s)) {
		return 0, "", "", errValue
	}
	return tag, s[:n], s[n:], nil
}

func cutUvarint(s string) (v uint64, rest string, ok bool) {
	for i := 0; i < len(s) && i < binary.MaxVarintLen64; i++ {
		v |= uint64(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			return v, s[i+1:], true
		}
	}
	return 0, "", false
}

// viewValue gives a stored value as a string without a copy: nobody changes it
// once it was given to or by the store (store.Item).
func viewValue(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// checkValue reports whether a Person may be a view of the value.
func checkValue(v string) error {
	if len(v) < atFields {
		return errValue
	}
	if v[0] != valueVersion {
		return fmt.Errorf("stored account is of version %d, want %d", v[0], valueVersion)
	}
	return nil
}

// decode reads the stored form; the account shares its memory.
func decode(v string) (*Account, error) {
	if err := checkValue(v); err != nil {
		return nil, err
	}
	p := Person{v}
	a := &Account{
		Secrets:  p.secrets(),
		Disabled: p.Disabled(),
		Created:  valueTime(v[atCreated:]),
		Changed:  valueTime(v[atChanged:]),
	}
	rest := v[atFields:]
	for rest != "" {
		tag, value, next, err := nextValueField(rest)
		if err != nil {
			return nil, err
		}
		switch tag {
		case tagAOR:
			if a.AOR, err = sip.ParseAORString(value); err != nil {
				return nil, errValue
			}
		case tagDisplayName:
			a.DisplayName = value
		case tagEmail:
			a.Email = value
		case tagUnit:
			a.Unit = value
		case tagGroup:
			a.Groups = append(a.Groups, value)
		default:
			a.extra += rest[:len(rest)-len(next)]
		}
		rest = next
	}
	if a.AOR.IsZero() {
		return nil, errValue
	}
	return a, nil
}

func valueTime(v string) time.Time {
	var ms uint64
	for i := range 8 {
		ms = ms<<8 | uint64(v[i])
	}
	return time.UnixMilli(int64(ms)).UTC()
}

// Person is what a Directory knows of an account but for its secrets, as it was
// when it was looked up. It is a view of the stored bytes: making and copying one
// costs nothing, and it may be kept. The zero Person is nobody.
type Person struct{ value string }

// IsZero reports that p is nobody.
func (p Person) IsZero() bool { return p.value == "" }

// AOR returns the account's address of record.
func (p Person) AOR() sip.AOR {
	a, err := sip.ParseAORString(p.field(tagAOR))
	if err != nil {
		return sip.AOR{}
	}
	return a
}

// DisplayName returns the name for people.
func (p Person) DisplayName() string { return p.field(tagDisplayName) }

// Email returns the mail address.
func (p Person) Email() string { return p.field(tagEmail) }

// Unit returns the business unit that is charged.
func (p Person) Unit() string { return p.field(tagUnit) }

// Groups returns the groups the account is in, in a slice of its own.
func (p Person) Groups() []string {
	var groups []string
	p.fields(func(tag uint64, value string) bool {
		if tag == tagGroup {
			groups = append(groups, value)
		}
		return true
	})
	return groups
}

// Disabled reports that the account cannot log in.
func (p Person) Disabled() bool { return p.value != "" && p.value[atFlags]&flagDisabled != 0 }

func (p Person) field(want uint64) (found string) {
	p.fields(func(tag uint64, value string) bool {
		if tag == want {
			found = value
		}
		return tag != want
	})
	return found
}

// fields calls f with each stored field until f returns false.
func (p Person) fields(f func(tag uint64, value string) bool) {
	if p.value == "" {
		return
	}
	for rest := p.value[atFields:]; rest != ""; {
		tag, value, next, err := nextValueField(rest)
		if err != nil || !f(tag, value) {
			return
		}
		rest = next
	}
}

func (p Person) secrets() (s digest.Secrets) {
	copy(s.MD5[:], p.value[atMD5:])
	copy(s.SHA256[:], p.value[atSHA256:])
	copy(s.SHA512256[:], p.value[atSHA512256:])
	return s
}

// Identity is proof that a request came from an account. Only an Authenticator
// makes valid ones; the zero Identity is not.
type Identity struct {
	aor    sip.AOR
	person Person
}

// Valid reports that an Authenticator made the identity.
func (i Identity) Valid() bool { return !i.aor.IsZero() }

// AOR returns the authenticated account. It may be kept.
func (i Identity) AOR() sip.AOR { return i.aor }

// Person returns what is known of the account.
func (i Identity) Person() Person { return i.person }

// DisplayName returns the account's name for people.
func (i Identity) DisplayName() string { return i.person.DisplayName() }

// Unit returns the account's business unit.
func (i Identity) Unit() string { return i.person.Unit() }

// Groups returns the account's groups, in a slice of its own.
func (i Identity) Groups() []string { return i.person.Groups() }
