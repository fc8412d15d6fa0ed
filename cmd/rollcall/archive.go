package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/archive/replica"
	"rollcall/archive/timestamp"
	"rollcall/archive/witness"
	"rollcall/config"
	"rollcall/server"
)

// record is where an archive lies and in which zone its times are asked for and shown.
type record struct {
	archive.Folder
	zone *time.Location
}

// witnesses tells what the witnesses of the archive's server have.
func (r record) witnesses() []witness.State {
	return witness.States(filepath.Join(filepath.Dir(r.Dir), "witness"))
}

// replica tells what the second copy has, nil if there is none.
func (r record) replica() *replica.State {
	if s, ok := replica.Last(filepath.Join(filepath.Dir(r.Dir), "replica")); ok {
		return &s
	}
	return nil
}

func (a *app) archive() *cobra.Command {
	var dir, keysDir string
	c := &cobra.Command{
		Use:   "archive",
		Short: "The record: search, conversation, show, review, export, verify, hold, release, erase, stats, tail",
		Long: "search and conversation ask the running server, which has an index, and read the files of an archive if there is none; show,\n" +
			"export, verify, stats and tail read files, with or without a server beside them; the others ask the running server. What people do with the record of a running server is recorded, with who did it and why. The\n" +
			"archive is that of the configuration, data_dir/archive, or the one of --dir, which needs no configuration.\n" +
			"What was said is sealed; it is shown to who can read keys_dir.",
	}
	group(c)
	c.PersistentFlags().StringVar(&dir, "dir", "", "`FOLDER` of the archive (default: data_dir/archive of the configuration)")
	_ = c.MarkPersistentFlagDirname("dir") // fails only for a flag that is not there
	c.PersistentFlags().StringVar(&keysDir, "keys", "", "`FOLDER` of the keys to the content (default: keys_dir of the configuration)")
	_ = c.MarkPersistentFlagDirname("keys")
	open := func() (record, error) {
		at := record{archive.Folder{Dir: dir}, time.UTC}
		if dir == "" {
			cfg, err := a.load()
			if errors.Is(err, config.ErrNotFound) {
				return at, fmt.Errorf("%w; or name the archive with --dir", err)
			}
			if err != nil {
				return at, err
			}
			at = record{archive.Folder{Dir: cfg.ArchiveDir()}, cfg.Location()}
			if keysDir == "" {
				keysDir = cfg.KeysDir
			}
		}
		if _, err := os.Stat(at.Dir); errors.Is(err, os.ErrNotExist) {
			return at, fmt.Errorf("there is no archive in %s; the server makes it when it starts", at.Dir)
		}
		if keysDir != "" {
			ring, err := server.ContentKeys(keysDir)
			if err != nil {
				a.note("Content stays sealed: %v", err)
			} else {
				at.Keys = ring
			}
		}
		return at, nil
	}
	reads := func(c *cobra.Command, act api.Act, as string) error { return a.reads(c, dir, act, as) }
	find := finder{app: a, open: open, reads: reads, server: func(c *cobra.Command) (*api.Client, *time.Location, error) {
		if dir != "" || keysDir != "" {
			return nil, nil, nil // these files, with these keys
		}
		return a.recordServer(c)
	}}
	c.AddCommand(a.archiveSearch(find), a.archiveConversation(find), a.archiveShow(open, reads), a.archiveVerify(open), a.archiveStats(open), a.archiveTail(open, reads), a.archiveRotateKey(),
		a.archiveExport(open), a.archiveReview(), a.archiveHold(), a.archiveRelease(), a.archiveErase(), a.archivePurge())
	return c
}

// reader records that somebody reads the record.
type reader func(c *cobra.Command, act api.Act, as string) error

func (a *app) archiveShow(open func() (record, error), reads reader) *cobra.Command {
	var f custody
	var asJSON, proof bool
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Print one record, and what became of it",
		Long: "With --proof it prints the proof that the record is in the archive, in the form of C2SP tlog-proof: hashes up to\n" +
			"the root of the tree, and the checkpoint that states it.",
		Args: args(1, 1, "ID"),
		RunE: func(c *cobra.Command, given []string) error {
			id, err := archive.ParseID(given[0])
			if err != nil {
				return usage(c, "%q is not a record ID; `rollcall archive search` prints them", given[0])
			}
			at, err := open()
			if err != nil {
				return err
			}
			if err := reads(c, api.Act{Action: "view", Object: id.String(), Reason: f.reason}, f.as); err != nil {
				return err
			}
			shown, err := at.Show(id)
			if err != nil {
				return fmt.Errorf("show %s: %w", id, adviseVerify(err))
			}
			if proof {
				p, err := at.Prover()
				if err != nil {
					return fmt.Errorf("prove %s: %w", id, err)
				}
				text, err := p.Proof(shown.Record.Seq)
				if err != nil {
					return err
				}
				_, err = a.stdout.Write(text)
				return err
			}
			if asJSON {
				return a.json(shown)
			}
			return shown.WriteText(a.stdout)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&proof, "proof", false, "print the proof that it is in the archive")
	f.flags(c, true)
	return c
}

// archiveRotateKey has the running server sign with a new key.
func (a *app) archiveRotateKey() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate-key",
		Short: "Have the server sign checkpoints with a new key",
		Long: "The record names the new key, and the checkpoint over that is signed by the old one too. Give the printed verifier key\n" +
			"to those who verify; they need it when they begin anew, for who has an older one learns it from the record.",
		Args: args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.ask(c, nil, func(ctx context.Context, client *api.Client, _ []string) error {
				key, err := client.RotateKey(ctx)
				if err != nil {
					return err
				}
				return a.say("%s", key.VerifierKey)
			})
		},
	}
}

func (a *app) archiveVerify(open func() (record, error)) *cobra.Command {
	var asJSON bool
	var keys []string
	var checkpoint, exported, tsaCA string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Check that no record is missing or changed",
		Long: "Every file is read: each record must be whole, the sequence without a gap, each file the successor of the one\n" +
			"before, and the Merkle tree over all records the one that the signed checkpoints state. It needs no server, and works on a\n" +
			"copy. Exit code 1 when anything is wrong.\n\n" +
			"The archive names its own keys. Who does not trust who holds the archive gives the verifier key that he noted before,\n" +
			"and a checkpoint that he kept: with --checkpoint the record must still begin with what that states.",
		Example: "  rollcall archive verify\n  rollcall archive verify --dir copy/archive --key \"$(cat key.txt)\" --checkpoint yesterday.txt",
		Args:    args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			for i, k := range keys { // a key, or a file with one
				if text, err := os.ReadFile(k); err == nil {
					keys[i] = strings.TrimSpace(string(text))
				}
			}
			if exported != "" {
				return a.verifyExport(exported, keys, asJSON)
			}
			at, err := open()
			if err != nil {
				return err
			}
			var roots *x509.CertPool
			if tsaCA != "" {
				pem, err := os.ReadFile(tsaCA)
				if err != nil {
					return fmt.Errorf("certificates of the time-stamp authority: %w", err)
				}
				if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
					return fmt.Errorf("%s has no certificate", tsaCA)
				}
			}
			o := archive.VerifyOptions{Keys: keys, Stamp: func(signed, token []byte) (time.Time, error) { return timestamp.Check(signed, token, roots) }}
			if checkpoint != "" {
				if o.Checkpoint, err = os.ReadFile(checkpoint); err != nil {
					return fmt.Errorf("older checkpoint: %w", err)
				}
				if len(o.Checkpoint) == 0 {
					return fmt.Errorf("%s is empty", checkpoint)
				}
			}
			if isTerminal(a.stderr) {
				o.Progress = func(records uint64) { fmt.Fprintf(a.stderr, "\r%d records", records) }
			}
			report, err := at.VerifyWith(o)
			if err == nil {
				report.StampsTrusted = len(report.Stamps) > 0 && roots != nil
			}
			if o.Progress != nil && err == nil && report.Records >= 10_000 {
				fmt.Fprint(a.stderr, "\r\x1b[K")
			}
			if err != nil {
				return err
			}
			if asJSON {
				err = a.json(report)
			} else {
				err = a.verified(report, at)
			}
			if err == nil && !report.OK {
				return errReported
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().StringArrayVar(&keys, "key", nil, "verifier `KEY` that must have signed, or a file with it (repeat for several)")
	c.Flags().StringVar(&exported, "export", "", "`FOLDER` of an export, which is checked with nothing else at hand")
	c.Flags().StringVar(&checkpoint, "checkpoint", "", "`FILE` with older checkpoints of this archive, as a witness keeps them")
	c.Flags().StringVar(&tsaCA, "tsa-ca", "", "`FILE` with certificates (PEM) that those of time stamps must lead to")
	return c
}

func (a *app) verified(r *archive.Report, at record) error {
	var rows [][]string
	for _, f := range r.Faults {
		rows = append(rows, []string{a.color(red, "fault"), f.Error()})
	}
	if more := r.FaultCount - len(r.Faults); more > 0 {
		rows = append(rows, []string{a.color(red, "fault"), fmt.Sprintf("and %d more", more)})
	}
	if r.Torn != nil {
		rows = append(rows, []string{"note", "the last write is unfinished, nothing in it was acknowledged: " + r.Torn.Error()})
	}
	text := fmt.Sprintf("%s: %d records, %d messages, %s in %d files", at.Dir, r.Records, r.Messages, bytesText(r.Bytes), r.Segments)
	if r.Records > 0 {
		text += fmt.Sprintf(", seq %d to %d, %s to %s", r.FirstSeq, r.LastSeq,
			r.First.In(at.zone).Format(time.RFC3339), r.Last.In(at.zone).Format(time.RFC3339))
	}
	if r.Checkpoints > 0 {
		text += fmt.Sprintf("; %d records signed by %d checkpoints of %s", r.Signed, r.Checkpoints, r.Origin)
	}
	if n := len(r.Stamps); n > 0 {
		text += fmt.Sprintf("; %d time stamps, the last of %s over %d records", n, r.Stamps[n-1].Time.In(at.zone).Format(time.RFC3339), r.Stamps[n-1].Size)
	}
	if r.CheckpointTorn > 0 {
		rows = append(rows, []string{"note", fmt.Sprintf("%d bytes of the older checkpoints are none: their writing was cut off, or they were changed. The others hold", r.CheckpointTorn)})
	}
	if len(r.Stamps) > 0 && !r.StampsTrusted {
		rows = append(rows, []string{"note", "who made the time stamps is not checked: give the certificates of the authority with --tsa-ca"})
	}
	word := a.color(green, "ok")
	if !r.OK {
		word = a.color(red, "damaged")
	}
	return a.lines(append(rows, []string{word, text}))
}

func (a *app) archiveStats(open func() (record, error)) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "stats",
		Short: "Count records, messages and bytes",
		Args:  args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			at, err := open()
			if err != nil {
				return err
			}
			s, err := at.Stats()
			if err != nil {
				return err
			}
			if asJSON {
				return a.json(struct {
					*archive.Summary
					Witnesses []witness.State `json:"witnesses,omitempty"`
					Replica   *replica.State  `json:"replica,omitempty"`
				}{s, at.witnesses(), at.replica()})
			}
			rows := [][]string{
				{"records", fmt.Sprint(s.Records)},
				{"messages", fmt.Sprint(s.Messages)},
				{"bytes", fmt.Sprint(s.Bytes)},
				{"segments", fmt.Sprint(s.Segments)},
				{"disk bytes", fmt.Sprint(s.DiskBytes)},
				{"last seq", fmt.Sprint(s.LastSeq)},
				{"without outcome", fmt.Sprint(s.Open)},
				{"faults", fmt.Sprint(s.Faults)},
			}
			if s.Records > 0 {
				rows = append(rows, []string{"first", s.First.In(at.zone).Format(time.RFC3339)}, []string{"last", s.Last.In(at.zone).Format(time.RFC3339)})
			}
			if s.Origin != "" {
				rows = append(rows, []string{"signed", fmt.Sprint(s.Signed)}, []string{"origin", s.Origin})
			}
			if !s.SignedThrough.IsZero() {
				rows = append(rows, []string{"signed through", s.SignedThrough.In(at.zone).Format(time.RFC3339)})
			}
			for _, key := range s.Keys {
				rows = append(rows, []string{"key", key})
			}
			for _, w := range at.witnesses() {
				text := fmt.Sprintf("%s %d %s", w.Name, w.Size, w.At.In(at.zone).Format(time.RFC3339))
				if w.Err != "" {
					text += " " + w.Err
				}
				rows = append(rows, []string{"witness", text})
			}
			if r := at.replica(); r != nil {
				text := fmt.Sprintf("%d segments, %d wait, checkpoint %d %s", r.Segments, r.Waiting, r.Size, r.At.In(at.zone).Format(time.RFC3339))
				if r.Err != "" {
					text += " " + r.Err
				}
				rows = append(rows, []string{"replica", text})
			}
			if size, when, err := at.LastStamp(); err == nil && size > 0 {
				rows = append(rows, []string{"time-stamped", fmt.Sprintf("%d %s", size, when.In(at.zone).Format(time.RFC3339))})
			}
			for d := archive.Delivered; d <= archive.Dropped; d++ {
				if n := s.Outcomes[d.String()]; n > 0 {
					rows = append(rows, []string{d.String(), fmt.Sprint(n)})
				}
			}
			return a.table([]string{"WHAT", "COUNT"}, rows)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// adviseVerify says what to do about damage.
func adviseVerify(err error) error {
	var fault *archive.Fault
	if errors.As(err, &fault) {
		return fmt.Errorf("%w; `rollcall archive verify` lists every fault", err)
	}
	return err
}

// archiveTailWhole reads the end of an archive, where an unclean stop would show, and says what it found.
func archiveTailWhole(c *cobra.Command, dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return dir + " will be made at the first start", nil
	}
	if err != nil {
		return "", fmt.Errorf("%w; give the user of the server access", err)
	}
	var newest time.Time
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	if newest.IsZero() {
		return dir + " is empty", nil
	}
	n := 0
	err = archive.Folder{Dir: dir}.Search(c.Context(), archive.Query{Type: "all", After: newest.Add(-time.Hour)}, func(*archive.Record, archive.Pos) error {
		n++
		return nil
	})
	if err != nil {
		return "", adviseVerify(err)
	}
	return fmt.Sprintf("%s, the records of its last hour are whole (%d)", dir, n), nil
}
