package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"rollcall/agent"
)

func (a *app) send() *cobra.Command {
	var (
		flags  agentFlags
		opt    agent.SendOptions
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "send FROM TO TEXT",
		Short: "Send a message and print the answer",
		Long: "The answer is printed as its status line: 200 OK, a device took the message; 202 Accepted, the server keeps it\n" +
			"until one does. Any other answer is exit code 1. - as TEXT reads standard input.",
		Example: "  rollcall send alice bob \"hello\"",
		Args:    args(3, 3, "FROM TO TEXT"),
		RunE: func(c *cobra.Command, given []string) error {
			cfg, conf, err := a.agent(c, flags, given[0])
			if err != nil {
				return err
			}
			to, err := parseAOR(c, conf, given[1])
			if err != nil {
				return err
			}
			text := given[2]
			if text == "-" {
				b, err := io.ReadAll(io.LimitReader(a.stdin, 1<<20))
				if err != nil {
					return fmt.Errorf("read text: %w", err)
				}
				text = string(b)
			}
			res, err := agent.Send(c.Context(), cfg, to.String(), text, opt)
			if err != nil {
				return fmt.Errorf("send to %s: %w; is the server running?", cfg.Server, err)
			}
			if asJSON {
				err = a.json(resultJSON(res))
			} else {
				err = a.answer(res)
			}
			if err == nil && !res.Accepted() {
				return a.refused(res, "the recipient has no account; `rollcall user list` shows those there are")
			}
			return err
		},
	}
	flags.add(c)
	c.Flags().StringVar(&opt.ContentType, "content-type", "", "`TYPE` of the text (default text/plain;charset=utf-8)")
	c.Flags().DurationVar(&opt.Expires, "expires", 0, "give up delivery after this `DURATION` (default: the server's)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// resultJSON is the answer to a request.
func resultJSON(res agent.Result) map[string]any {
	return map[string]any{
		"status": res.Status, "reason": res.Reason, "call_id": res.CallID, "transport": res.Transport,
		"took_ms": float64(res.Took.Microseconds()) / 1000, "retry_after_s": int(res.RetryAfter / time.Second),
	}
}

// answer prints the status line of the answer to a request.
func (a *app) answer(res agent.Result) error {
	code := green
	if !res.Accepted() {
		code = red
	}
	return a.say("%s", a.color(code, fmt.Sprintf("%d %s", res.Status, printable(res.Reason))))
}

// refused adds to the answer what to do about it, where that is known. Unknown is what a 404 means.
func (a *app) refused(res agent.Result, unknown string) error {
	switch res.Status {
	case 401, 407:
		a.note("rollcall: the password is not that of the account; give --password-file or %s", envPassword)
	case 404:
		a.note("rollcall: %s", unknown)
	case 503:
		if res.RetryAfter > 0 {
			a.note("rollcall: the server asks to try again in %s", res.RetryAfter)
		}
	}
	return errReported
}
