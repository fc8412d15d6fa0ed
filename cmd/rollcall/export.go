package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/archive/export"
)

func (a *app) archiveExport(open func() (record, error)) *cobra.Command {
	var f custody
	var format, out string
	var asJSON bool
	c := &cobra.Command{
		Use:   "export QUERY",
		Short: "Write messages with their proofs, in a format that reviewers load",
		Long: "An export is a folder: the records with their proofs as JSON Lines, the same messages in the chosen format, the checkpoint,\n" +
			"and a manifest with the SHA-256 of each file, which the record of the export seals. `archive verify --export` checks it with\n" +
			"nothing else at hand but a verifier key. An export that was interrupted goes on when the command is given again.\n\n" +
			"QUERY is that of archive search; \"\" takes all. The formats are " + strings.Join(export.Formats, ", ") + ".",
		Example: "  rollcall archive export 'with:alice after:2026-11-01' --format eml --out case-42 --reason 'request of the regulator'",
		Args:    args(1, -1, "a QUERY"),
		RunE: func(c *cobra.Command, given []string) error {
			if out == "" {
				return usage(c, "--out names the folder that is made")
			}
			at, err := open()
			if err != nil {
				return err
			}
			text := strings.Join(given, " ")
			q, err := archive.ParseQuery(text, at.zone)
			if err != nil {
				return usage(c, "%v", err)
			}
			o := export.Options{Folder: at.Folder, Query: q, Text: text, Format: format, Zone: at.zone, Product: "rollcall " + version}
			client, err := a.recordKeeper(c, &f, &o, text)
			if err != nil {
				return err
			}
			if client != nil {
				defer client.Close()
			}
			if isTerminal(a.stderr) {
				o.Progress = func(done, all int) { fmt.Fprintf(a.stderr, "\r%d of %d messages", done, all) }
			}
			m, err := export.Run(c.Context(), out, o)
			if o.Progress != nil {
				fmt.Fprint(a.stderr, "\r\x1b[K")
			}
			if errors.Is(err, export.ErrFormat) {
				return usage(c, "%v", err)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return a.json(m)
			}
			if client == nil {
				a.note("No server keeps this archive, so the export is not in its record and has no seal.")
			}
			if m.Unreadable > 0 {
				a.note("The content of %d messages was erased, or is sealed and no key is here.", m.Unreadable)
			}
			return a.say("%s: %d messages, %d records with proofs, %d files", out, m.Messages, m.Records, len(m.Files)+2)
		},
	}
	f.flags(c, true)
	c.Flags().StringVar(&format, "format", "jsonl", "one of "+strings.Join(export.Formats, ", "))
	c.Flags().StringVar(&out, "out", "", "`FOLDER` to write to")
	c.Flags().BoolVar(&asJSON, "json", false, "print the manifest")
	_ = c.MarkFlagDirname("out") // fails only for a flag that is not there
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(export.Formats, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// recordKeeper connects an export with the server that keeps the archive, if
// there is one: it has the accounts, and records the export.
func (a *app) recordKeeper(c *cobra.Command, f *custody, o *export.Options, query string) (*api.Client, error) {
	if c.Flags().Changed("dir") {
		return nil, nil // a copy
	}
	cfg, err := a.load()
	if err != nil {
		return nil, err
	}
	client, err := api.Dial(c.Context(), cfg.Socket())
	if errors.Is(err, api.ErrNoServer) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	client.As = f.as
	people := map[string]export.Person{}
	err = client.List(c.Context(), func(u api.User) error {
		people[u.AOR] = export.Person{Name: u.DisplayName, Email: u.Email, Unit: u.Unit}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	o.People = func(aor string) (export.Person, bool) { p, ok := people[aor]; return p, ok }
	o.Act = func(ctx context.Context, manifest string) (archive.ID, error) {
		detail, err := json.Marshal(export.Detail{ManifestSHA256: manifest})
		if err != nil {
			return archive.ID{}, err
		}
		acted, err := client.Act(ctx, api.Act{Action: export.ActExport, Object: o.Format + " " + query, Reason: f.reason, Detail: detail})
		return acted.ID, err
	}
	return client, nil
}

// verifyExport checks an export.
func (a *app) verifyExport(dir string, keys []string, asJSON bool) error {
	r, err := export.Verify(dir, keys...)
	if err != nil {
		return err
	}
	if asJSON {
		err = a.json(r)
	} else {
		var rows [][]string
		for _, f := range r.Faults {
			rows = append(rows, []string{a.color(red, "fault"), f})
		}
		if !r.Signed {
			rows = append(rows, []string{"note", "who signed is not checked: give a verifier key with --key"})
		}
		if !r.Sealed {
			rows = append(rows, []string{"note", "the record of the export is not proved: a file may have been left out before the manifest was written"})
		}
		word := a.color(green, "ok")
		if !r.OK {
			word = a.color(red, "damaged")
		}
		err = a.lines(append(rows, []string{word, fmt.Sprintf("%s: %d messages, %d records proved against %d of %s",
			dir, r.Manifest.Messages, r.Records, r.Manifest.TreeSize, r.Manifest.Origin)}))
	}
	if err == nil && !r.OK {
		return errReported
	}
	return err
}
