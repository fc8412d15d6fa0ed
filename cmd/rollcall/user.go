package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/api"
	"rollcall/config"
)

func (a *app) user() *cobra.Command {
	c := &cobra.Command{
		Use:   "user",
		Short: "Accounts: add, list, passwd, disable, enable, delete, import, export, report, alias",
		Long: "The commands talk to the running server over data_dir/rollcall.sock. When none runs they open the store\n" +
			"themselves, a new one too.",
	}
	group(c)
	c.AddCommand(a.userAdd(), a.userList(), a.userPasswd(), a.userDisable("disable", true), a.userDisable("enable", false), a.userDelete(),
		a.userImport(), a.userExport(), a.userReport(), a.userAlias())
	return c
}

// withUsers runs f on the accounts of the running server, or of the store when none runs.
func (a *app) withUsers(ctx context.Context, f func(*config.Config, api.Users) error) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	users, done, err := reachUsers(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(f(cfg, users), done())
}

func passwordFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "password-file", "", "`FILE` whose first line is the password, - for standard input (default: "+envPassword+", else asked for)")
}

func (a *app) userAdd() *cobra.Command {
	var u api.User
	var file string
	c := &cobra.Command{
		Use:     "add AOR",
		Short:   "Add an account",
		Example: "  rollcall user add alice@example.com --display-name \"Alice Adams\" --unit sales",
		Args:    args(1, 1, "AOR"),
		RunE: func(c *cobra.Command, given []string) error {
			return a.withUsers(c.Context(), func(cfg *config.Config, users api.Users) error {
				aor, err := ownAOR(c, cfg, given[0])
				if err != nil {
					return err
				}
				u.AOR = aor.String()
				password, err := a.newPassword(c, file, u.AOR)
				if err != nil {
					return err
				}
				if err := users.Add(c.Context(), u, password); err != nil {
					if errors.Is(err, api.ErrExists) {
						return fmt.Errorf("%w; `rollcall user passwd` changes its password", err)
					}
					if errors.Is(err, api.ErrRefused) {
						return fmt.Errorf("%w; --reuse-name gives it out all the same", err)
					}
					return err
				}
				return a.say("added %s", u.AOR)
			})
		},
	}
	passwordFlag(c, &file)
	f := c.Flags()
	f.StringVar(&u.DisplayName, "display-name", "", "`NAME` shown to others")
	f.StringVar(&u.Email, "email", "", "mail `ADDRESS`")
	f.StringVar(&u.Unit, "unit", "", "business `UNIT` that is charged")
	f.BoolVar(&u.ReuseName, "reuse-name", false, "take a name whose quarantine runs after another account had it")
	f.StringSliceVar(&u.Groups, "group", nil, "`GROUP` of the account; again or with commas for more")
	return c
}

func (a *app) userList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the accounts",
		Args:  args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withUsers(c.Context(), func(_ *config.Config, users api.Users) error {
				list := []api.User{}
				err := users.List(c.Context(), func(u api.User) error {
					list = append(list, u)
					return nil
				})
				if err != nil {
					return err
				}
				if asJSON {
					return a.json(list)
				}
				rows := make([][]string, len(list))
				for i, u := range list {
					state := "enabled"
					if u.Disabled {
						state = "disabled"
					}
					rows[i] = []string{u.AOR, state, u.DisplayName, u.Email, u.Unit, strings.Join(u.Groups, ";")}
				}
				return a.table([]string{"AOR", "STATE", "NAME", "EMAIL", "UNIT", "GROUPS"}, rows)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) userPasswd() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "passwd AOR",
		Short: "Set the password of an account",
		Args:  args(1, 1, "AOR"),
		RunE: func(c *cobra.Command, given []string) error {
			return a.withUsers(c.Context(), func(cfg *config.Config, users api.Users) error {
				aor, err := ownAOR(c, cfg, given[0])
				if err != nil {
					return err
				}
				password, err := a.newPassword(c, file, aor.String())
				if err != nil {
					return err
				}
				if err := users.SetPassword(c.Context(), aor.String(), password); err != nil {
					return adviseList(err)
				}
				return a.say("changed the password of %s", aor)
			})
		},
	}
	passwordFlag(c, &file)
	return c
}

func (a *app) userDisable(name string, disabled bool) *cobra.Command {
	short := "Let a disabled account in again"
	if disabled {
		short = "Lock an account out; it and its record stay"
	}
	return &cobra.Command{
		Use:   name + " AOR",
		Short: short,
		Args:  args(1, 1, "AOR"),
		RunE: func(c *cobra.Command, given []string) error {
			return a.withUsers(c.Context(), func(cfg *config.Config, users api.Users) error {
				aor, err := ownAOR(c, cfg, given[0])
				if err != nil {
					return err
				}
				if err := users.SetDisabled(c.Context(), aor.String(), disabled); err != nil {
					return adviseList(err)
				}
				return a.say("%sd %s", name, aor)
			})
		},
	}
}

func (a *app) userDelete() *cobra.Command {
	var f custody
	c := &cobra.Command{
		Use:   "delete AOR",
		Short: "Delete an account; its record stays, its name is in quarantine",
		Long: "The running server removes the account, its registrations, documents, tokens and the messages that wait for it, and states it\n" +
			"in the record. For [auth] name_quarantine nobody else gets the name, unless `user add --reuse-name` says so.",
		Args: args(1, 1, "AOR"),
		RunE: func(c *cobra.Command, given []string) error {
			return a.onRecord(c, f.as, given, func(ctx context.Context, client *api.Client, aors []string) error {
				if err := client.Delete(ctx, aors[0], f.reason); err != nil {
					return adviseList(err)
				}
				return a.say("deleted %s", aors[0])
			})
		},
	}
	f.flags(c, true)
	return c
}

func adviseList(err error) error {
	if errors.Is(err, api.ErrNotFound) {
		return fmt.Errorf("%w; `rollcall user list` shows those there are", err)
	}
	return err
}

func (a *app) userImport() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "import FILE.csv",
		Short: "Add and change accounts from a CSV file",
		Long: "The first line is aor,password,display_name,email,unit,groups; groups are parted by semicolons. An account\n" +
			"that exists is changed, and keeps its password where the column is empty. A faulty line refuses the whole\n" +
			"file: nothing has changed then. - reads standard input.",
		Args: args(1, 1, "FILE.csv"),
		RunE: func(c *cobra.Command, given []string) error {
			in := a.stdin
			if given[0] != "-" {
				f, err := os.Open(given[0])
				if err != nil {
					return fmt.Errorf("import: %w", err)
				}
				defer f.Close()
				in = f
			}
			return a.withUsers(c.Context(), func(_ *config.Config, users api.Users) error {
				started := time.Now()
				progress := a.progress("lines")
				done, err := users.Import(c.Context(), in, progress)
				if progress != nil {
					a.note("")
				}
				switch {
				case errors.Is(err, api.ErrInvalid):
					return fmt.Errorf("%s is refused, nothing has changed:\n%w", given[0], err)
				case err != nil:
					return fmt.Errorf("import %s: %w; the same import again completes it", given[0], err)
				case asJSON:
					return a.json(done)
				}
				return a.say("added %d, changed %d, left %d as they were, in %s", done.Added, done.Changed, done.Unchanged,
					time.Since(started).Round(10*time.Millisecond))
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// progress returns a function that shows how far a long work is, or nil when nobody looks.
func (a *app) progress(what string) func(done int) {
	if !isTerminal(a.stderr) {
		return nil
	}
	return func(done int) { fmt.Fprintf(a.stderr, "\r%d %s", done, what) }
}

func (a *app) userExport() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "export",
		Short: "Write the accounts as CSV, without passwords",
		Long:  "The columns are those of import. The password is left empty: passwords are not kept, and an import leaves\nthose of existing accounts as they are.",
		Args:  args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withUsers(c.Context(), func(_ *config.Config, users api.Users) error {
				if output == "" {
					return users.Export(c.Context(), a.stdout)
				}
				return writeFile(output, func(w io.Writer) error { return users.Export(c.Context(), w) })
			})
		},
	}
	c.Flags().StringVar(&output, "output", "", "`FILE` to write instead of standard output")
	return c
}

// writeFile writes a new file, and takes it away again if that fails: half a file is none.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
