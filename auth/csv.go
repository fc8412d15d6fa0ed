package auth

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"rollcall/sip"
	"rollcall/sip/digest"
	"rollcall/store"
)

// Columns are those of an import and export, of which aor must be there.
var Columns = []string{"aor", "password", "display_name", "email", "unit", "groups"}

const (
	colAOR = iota
	colPassword
	colDisplayName
	colEmail
	colUnit
	colGroups
	colCount
)

// MaxFaults is how many faults of a file an import lists.
const MaxFaults = 20

// maxImportBytes and maxImportLines bound one file.
const (
	maxImportBytes = 1 << 30
	maxImportLines = 2_000_000
)

// Result is what an import did.
type Result struct{ Added, Changed, Unchanged int }

// Faults are what is wrong with a file. It never quotes the file, as a password may
// stand in the wrong column.
type Faults struct {
	List []Fault // the first MaxFaults
	More int     // how many there are beyond
}

// Fault is what is wrong with one line.
type Fault struct {
	Line int // 0: the file as a whole
	Text string
}

func (f Fault) String() string {
	if f.Line == 0 {
		return f.Text
	}
	return fmt.Sprintf("line %d: %s", f.Line, f.Text)
}

// Error lists the faults, one a line.
func (f *Faults) Error() string {
	var b strings.Builder
	for i, fault := range f.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(fault.String())
	}
	if f.More > 0 {
		fmt.Fprintf(&b, "\nand %d more faults", f.More)
	}
	return b.String()
}

func (f *Faults) add(line int, err error) {
	if len(f.List) == MaxFaults {
		f.More++
		return
	}
	f.List = append(f.List, Fault{line, strings.ReplaceAll(err.Error(), "\n", "; ")})
}

// importRow is one line: the columns that are not in the file keep what is there.
type importRow struct {
	line     int
	password string
	account  Account
}

// importFile is a file that was read.
type importFile struct {
	has  [colCount]bool
	rows []importRow
}

// Import adds and changes accounts from CSV. The first line names the columns, in
// any order; groups are parted by semicolons. An existing account keeps its
// password if that cell is empty, and what no column names; every other cell
// counts, also an empty one. An aor may lack its "sip:".
//
// A fault in any line refuses the whole file, before anything is written, with
// *Faults. After that, an error of the store may leave a part of the file written;
// the same import again completes it. Progress, if not nil, hears how many lines are
// done.
func (d *Directory) Import(ctx context.Context, r io.Reader, progress func(n int)) (Result, error) {
	file, faults := d.readFile(r)
	if file == nil {
		return Result{}, faults
	}
	plan, err := d.plan(ctx, file, faults)
	if err != nil {
		return Result{}, err
	}
	if len(faults.List) > 0 {
		return Result{}, faults
	}
	return d.carryOut(ctx, plan, progress)
}

// readFile reads and checks all lines. It returns nil if the head is faulty.
func (d *Directory) readFile(r io.Reader) (*importFile, *Faults) {
	faults := &Faults{}
	limited := &io.LimitedReader{R: r, N: maxImportBytes}
	in := bufio.NewReaderSize(limited, 1<<16)
	if mark, _ := in.Peek(3); string(mark) == "\ufeff" { // spreadsheets write one
		_, _ = in.Discard(3)
	}
	c := csv.NewReader(in)
	c.ReuseRecord = true
	head, err := c.Read()
	if err != nil {
		faults.add(1, csvFault(err))
		return nil, faults
	}
	file := &importFile{}
	columns, err := file.readHead(head)
	if err != nil {
		faults.add(1, err)
		return nil, faults
	}
	lines := make(map[string]int)
	for {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var syntax *csv.ParseError
		if errors.As(err, &syntax) {
			faults.add(syntax.StartLine, csvFault(err))
			if errors.Is(err, csv.ErrFieldCount) {
				continue
			}
			break // where the next line begins is a guess
		}
		if err != nil {
			faults.add(0, err)
			break
		}
		line, _ := c.FieldPos(0)
		row, err := d.readRow(record, columns)
		row.line = line
		if err == nil {
			if first := lines[row.account.AOR.String()]; first != 0 {
				err = fmt.Errorf("aor stands in line %d already", first)
			}
			lines[row.account.AOR.String()] = line
		}
		if err != nil {
			faults.add(line, err)
			continue
		}
		if len(file.rows) == maxImportLines {
			faults.add(line, fmt.Errorf("more than %d lines", maxImportLines))
			break
		}
		file.rows = append(file.rows, row)
	}
	if limited.N == 0 {
		faults.add(0, fmt.Errorf("file is larger than %d bytes", maxImportBytes))
	}
	return file, faults
}

// csvFault says what is wrong without the line number, which stands before it.
func csvFault(err error) error {
	var syntax *csv.ParseError
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("no header, want " + strings.Join(Columns, ","))
	case errors.Is(err, csv.ErrFieldCount):
		return errors.New("not as many cells as the header has")
	case errors.As(err, &syntax):
		return syntax.Err
	}
	return err
}

// readHead returns for each column of the file which one it is.
func (f *importFile) readHead(head []string) ([]int, error) {
	columns := make([]int, len(head))
	for i, name := range head {
		at := slices.Index(Columns, strings.ToLower(strings.TrimSpace(name)))
		switch {
		case at < 0:
			return nil, fmt.Errorf("unknown column %d, want %s", i+1, strings.Join(Columns, ","))
		case f.has[at]:
			return nil, fmt.Errorf("column %s stands there twice", Columns[at])
		}
		f.has[at] = true
		columns[i] = at
	}
	if !f.has[colAOR] {
		return nil, errors.New("no column aor")
	}
	return columns, nil
}

func (d *Directory) readRow(record []string, columns []int) (row importRow, err error) {
	a := &row.account
	var faults []error
	for i, cell := range record {
		switch columns[i] {
		case colAOR:
			a.AOR, err = d.readAOR(strings.TrimSpace(cell))
			faults = append(faults, err)
		case colPassword: // as it is, with its spaces
			if cell != "" {
				faults = append(faults, checkPassword(cell))
			}
			row.password = cell
		case colDisplayName:
			a.DisplayName = strings.TrimSpace(cell)
		case colEmail:
			a.Email = strings.TrimSpace(cell)
		case colUnit:
			a.Unit = strings.TrimSpace(cell)
		case colGroups:
			a.Groups = splitGroups(cell)
		}
	}
	return row, errors.Join(append(faults, a.check())...)
}

func (d *Directory) readAOR(s string) (sip.AOR, error) {
	if lower := strings.ToLower(s); !strings.HasPrefix(lower, "sip:") && !strings.HasPrefix(lower, "sips:") {
		s = "sip:" + s
	}
	aor, err := sip.ParseAORString(s)
	switch {
	case err != nil:
		return aor, sip.ErrAOR // without the cell
	case !d.Serves(aor.Domain()):
		return aor, ErrDomain
	}
	return aor.Clone(), nil
}

// splitGroups reads "sales; berlin". A group that stands twice is one.
func splitGroups(cell string) []string {
	var groups []string
	for g := range strings.SplitSeq(cell, ";") {
		if g = strings.TrimSpace(g); g != "" && !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	return groups
}

// importStep is one account that the import writes, or leaves as it is.
type importStep struct {
	row     *importRow
	secrets digest.Secrets // of a row with a password
	old     loaded
	next    *Account // nil: as it is
}

// importPlan is a file against what is there.
type importPlan struct {
	file  *importFile
	steps []importStep
}

// plan decides what to write. It adds to the faults what shows only now.
func (d *Directory) plan(ctx context.Context, f *importFile, faults *Faults) (*importPlan, error) {
	p := &importPlan{file: f, steps: make([]importStep, 0, len(f.rows))}
	former, err := d.formers(ctx)
	if err != nil {
		return nil, err
	}
	aliases, err := d.Aliases(ctx)
	if err != nil {
		return nil, err
	}
	alias := map[string]Alias{}
	for _, a := range aliases {
		alias[a.AOR.String()] = a
	}
	owners := make([]string, 0, loadChunk)
	for from := 0; from < len(f.rows); from += loadChunk {
		rows := f.rows[from:min(from+loadChunk, len(f.rows))]
		owners = owners[:0]
		for i := range rows {
			owners = append(owners, rows[i].account.AOR.String())
		}
		there, err := d.loadMany(ctx, owners)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			step := importStep{row: &rows[i], old: there[i]}
			if rows[i].password == "" && there[i].account == nil {
				faults.add(rows[i].line, ErrNoPassword)
			}
			if a, ok := alias[rows[i].account.AOR.String()]; ok {
				faults.add(rows[i].line, d.taken(a.AOR.String(), a))
			}
			if owner := rows[i].account.AOR.String(); there[i].account == nil && former[owner] {
				if err := d.quarantined(ctx, owner); errors.Is(err, ErrQuarantine) {
					faults.add(rows[i].line, err)
				} else if err != nil {
					return nil, err
				}
			}
			if len(faults.List) > 0 {
				continue // nothing will be written
			}
			if rows[i].password != "" {
				aor := rows[i].account.AOR
				step.secrets = digest.NewSecrets(aor.User(), aor.Domain(), rows[i].password)
			}
			step.decide(f)
			p.steps = append(p.steps, step)
		}
	}
	return p, nil
}

// decide sets what comes after old.
func (s *importStep) decide(f *importFile) {
	next := Account{AOR: s.row.account.AOR}
	old := s.old.account
	if old != nil {
		next = *old
	}
	if s.row.password != "" {
		next.Secrets = s.secrets
	}
	if f.has[colDisplayName] {
		next.DisplayName = s.row.account.DisplayName
	}
	if f.has[colEmail] {
		next.Email = s.row.account.Email
	}
	if f.has[colUnit] {
		next.Unit = s.row.account.Unit
	}
	if f.has[colGroups] {
		next.Groups = s.row.account.Groups
	}
	s.next = &next
	if old != nil && old.Secrets == next.Secrets && old.DisplayName == next.DisplayName && old.Email == next.Email &&
		old.Unit == next.Unit && slices.Equal(old.Groups, next.Groups) {
		s.next = nil
	}
}

// carryOut writes the plan.
func (d *Directory) carryOut(ctx context.Context, p *importPlan, progress func(n int)) (Result, error) {
	var result Result
	now := time.Now().UTC().Truncate(time.Millisecond)
	ops := make([]store.Op, 0, loadChunk)
	for from := 0; from < len(p.steps); from += loadChunk {
		steps := p.steps[from:min(from+loadChunk, len(p.steps))]
		ops = ops[:0]
		for i := range steps {
			s := &steps[i]
			switch {
			case s.next == nil:
				result.Unchanged++
				continue
			case s.old.account == nil:
				result.Added++
			default:
				result.Changed++
			}
			change, err := d.revise(s.old.account, s.next, now)
			if err != nil {
				return result, fmt.Errorf("import %s: %w", s.next.AOR, err)
			}
			ops = append(ops, store.Op{
				Key: store.Key{Kind: accountKind, Owner: s.next.AOR.String()}, Base: s.old.version, Changes: []store.Change{change},
			})
		}
		err := store.ApplyAll(ctx, d.store, ops)
		for i := range ops {
			d.forget(ops[i].Key.Owner)
		}
		if err != nil {
			if err := d.again(ctx, p, steps, err); err != nil {
				return result, fmt.Errorf("import stopped between lines %d and %d: %w", steps[0].row.line, steps[len(steps)-1].row.line, err)
			}
		}
		if progress != nil {
			progress(from + len(steps))
		}
	}
	return result, nil
}

// again writes one by one what somebody else changed during the import, as the
// batch says; any other error it returns. The batch may not name all conflicts, so
// it looks at every step.
func (d *Directory) again(ctx context.Context, p *importPlan, steps []importStep, batch error) error {
	if !errors.Is(batch, store.ErrConflict) {
		return batch
	}
	for i := range steps {
		s := &steps[i]
		if s.next == nil {
			continue
		}
		err := d.update(ctx, s.next.AOR, func(old *Account) (*Account, error) {
			s.old.account = old
			s.decide(p.file)
			if s.next == nil {
				next := *old // as it is; only Changed moves
				s.next = &next
			}
			if s.next.Secrets == (digest.Secrets{}) {
				return nil, ErrNoPassword // it was deleted meanwhile
			}
			return s.next, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Export writes all accounts as CSV that Import reads, sorted by AOR. The passwords
// are not known, their cells are empty.
func (d *Directory) Export(ctx context.Context, w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(Columns); err != nil {
		return err
	}
	for a, err := range d.List(ctx) {
		if err != nil {
			return err
		}
		record := [colCount]string{a.AOR.String(), "", a.DisplayName, a.Email, a.Unit, strings.Join(a.Groups, ";")}
		if err := out.Write(record[:]); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
