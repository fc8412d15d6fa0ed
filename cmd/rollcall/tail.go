package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"rollcall/api"
	"rollcall/archive"
)

func (a *app) archiveTail(open func() (record, error), reads reader) *cobra.Command {
	var f custody
	var asJSON, follow bool
	var last, after uint64
	c := &cobra.Command{
		Use:   "tail",
		Short: "Print the last records and those that come, until interrupted",
		Long: "The records are those of GET /api/v1/records/stream, read from the files. --after goes on behind the record whose seq a\n" +
			"reader saw last, without a gap or a repeat.",
		Example: "  rollcall archive tail --follow --json --after 1203",
		Args:    args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			at, err := open()
			if err != nil {
				return err
			}
			if !c.Flags().Changed("after") {
				seq, err := at.LastSeq()
				if err != nil {
					return err
				}
				after = seq - min(last, seq)
			}
			if err := reads(c, api.Act{Action: archive.ActStream, Object: fmt.Sprintf("after %d", after), Reason: f.reason}, f.as); err != nil {
				return err
			}
			o := archive.FollowOptions{After: after, Once: !follow, Fault: func(fault *archive.Fault) error {
				a.note("%v", adviseVerify(fault))
				return nil
			}}
			lines := json.NewEncoder(a.stdout)
			lines.SetEscapeHTML(false)
			return at.Follow(c.Context(), o, func(r *archive.Record) error {
				if asJSON {
					return lines.Encode(r.View(false))
				}
				return a.line(r.View(false), at.zone)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, a value for each record, one a line")
	c.Flags().BoolVarP(&follow, "follow", "f", true, "wait for further records; --follow=false ends with the last one")
	c.Flags().Uint64VarP(&last, "lines", "n", 10, "records to begin with")
	c.Flags().Uint64Var(&after, "after", 0, "begin behind the record with this `SEQ`, instead of --lines")
	f.flags(c, true)
	return c
}
