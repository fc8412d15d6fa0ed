package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // time_zone works on a machine without zone files

	"github.com/spf13/cobra"

	"rollcall/config"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	coarseTimers(os.Args[1:])
	// The first signal ends the command in good order, a second one at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// app is what all commands share.
type app struct {
	stdin      io.Reader
	stdout     io.Writer
	stderr     io.Writer
	configFile string // --config
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return a.exit(root.ExecuteContext(ctx))
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "rollcall",
		Short: "SIP registrar and message relay that records every message",
		Long: "rollcall registers SIP devices, relays their messages and keeps a record of each.\n" +
			"`rollcall dev` starts a server to try things on.",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	group(root)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, "%v", err) })
	root.PersistentFlags().StringVar(&a.configFile, "config", "", "configuration `FILE` (default: "+config.EnvFile+", ./rollcall.toml, a running dev, "+config.SystemFile+")")
	_ = root.MarkPersistentFlagFilename("config", "toml") // fails only for a flag that is not there
	root.AddCommand(
		a.dev(), a.serve(), a.init(), a.check(), a.user(), a.send(), a.watch(), a.publish(), a.presence(), a.registrations(), a.subscriptions(), a.explain(), a.trace(), a.archive(), a.policy(), a.token(), a.usage(), a.bench(),
		a.version(), a.man(),
	)
	return root
}

// usageError is a mistake on the command line: exit code 2.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usage(c *cobra.Command, format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...) + "; see `" + c.CommandPath() + " --help`"}
}

// errReported ends a command that has said itself what went wrong.
var errReported = errors.New("reported")

// exit prints an error, a line for each that it is made of, and returns the exit code.
func (a *app) exit(err error) int {
	if err == nil {
		return exitDone
	}
	var wrong *usageError
	isUsage := errors.As(err, &wrong)
	if !errors.Is(err, errReported) {
		for line := range strings.SplitSeq(strings.TrimRight(err.Error(), "\n"), "\n") {
			fmt.Fprintf(a.stderr, "rollcall: %s\n", line)
		}
	}
	if isUsage {
		return exitUsage
	}
	return exitFailed
}

// args wants a number of arguments; names are those of the usage line.
func args(least, most int, names string) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		switch {
		case len(given) < least:
			return usage(c, "%s wants %s", c.CommandPath(), names)
		case most >= 0 && len(given) > most:
			return usage(c, "%q is too much: %s wants %s", given[most], c.CommandPath(), cmpOr(names, "no arguments"))
		}
		return nil
	}
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// group makes a command of subcommands say what is missing or not known.
func group(c *cobra.Command) {
	c.SuggestionsMinimumDistance = 2
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, given []string) error {
		if len(given) > 0 {
			if near := c.SuggestionsFor(given[0]); len(near) > 0 {
				return usage(c, "no command %q, did you mean %s", c.CommandPath()+" "+given[0], strings.Join(near, " or "))
			}
			return usage(c, "no command %q", c.CommandPath()+" "+given[0])
		}
		c.SetOut(c.ErrOrStderr())
		if err := c.Help(); err != nil {
			return err
		}
		return errors.Join(errReported, &usageError{"a command is missing"})
	}
}

// load finds and reads the configuration.
func (a *app) load() (*config.Config, error) {
	path, err := config.Find(a.configFile)
	if err != nil {
		return nil, err
	}
	return config.Load(path)
}
