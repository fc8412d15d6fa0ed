package main

import (
	"flag"
	"fmt"
	"os"

	"rollcall/archive"
)

func main() { os.Exit(run()) }

func run() int {
	var o archive.VerifyOptions
	flag.Func("key", "verifier `KEY` that must have signed; repeat for several", func(s string) error {
		o.Keys = append(o.Keys, s)
		return nil
	})
	older := flag.String("checkpoint", "", "`FILE` with an older checkpoint of this archive")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: rollcall-verify [--key KEY]… [--checkpoint FILE] FOLDER")
		return 2
	}
	var err error
	if *older != "" {
		if o.Checkpoint, err = os.ReadFile(*older); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if len(o.Checkpoint) == 0 {
			fmt.Fprintln(os.Stderr, *older, "is empty")
			return 1
		}
	}
	report, err := archive.Folder{Dir: flag.Arg(0)}.VerifyWith(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, f := range report.Faults {
		fmt.Println("fault", f)
	}
	fmt.Printf("%d records, %d messages, %d signed by %d checkpoints of %s, tree %s\n",
		report.Records, report.Messages, report.Signed, report.Checkpoints, report.Origin, report.Root)
	if n := report.CheckpointTorn; n > 0 {
		fmt.Printf("note %d bytes of the older checkpoints are none: their writing was cut off, or they were changed\n", n)
	}
	for _, k := range report.Keys {
		fmt.Println("key", k)
	}
	if !report.OK {
		fmt.Printf("%d faults\n", report.FaultCount)
		return 1
	}
	fmt.Println("ok")
	return 0
}
