package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/api"
	"rollcall/auth"
	"rollcall/config"
)

func (a *app) token() *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Tokens of the HTTP API: create, list, revoke",
		Long: "A token lets its holder use the HTTP API by its role: ops sees registrations, subscriptions and presence; compliance searches\n" +
			"the record and holds; supervisor reviews; bot asks for presence and publishes it, and with --aor sends and takes the messages of an account; admin manages accounts and tokens. No role\n" +
			"both reads content and manages accounts.",
	}
	group(c)
	c.AddCommand(a.tokenCreate(), a.tokenList(), a.tokenRevoke())
	return c
}

// withTokens runs f with the tokens of the running server, or of the store when none runs.
func (a *app) withTokens(ctx context.Context, f func(api.Tokens) error) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	tokens, done, err := reachTokens(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(f(tokens), done())
}

// reachTokens is reachUsers for tokens.
func reachTokens(ctx context.Context, cfg *config.Config) (tokens api.Tokens, done func() error, err error) {
	err = untilFree(ctx, func() error {
		client, err := api.Dial(ctx, cfg.Socket())
		if err == nil {
			tokens, done = client, client.Close
			return nil
		}
		if !errors.Is(err, api.ErrNoServer) {
			return err
		}
		st, err := openStore(ctx, cfg)
		if err == nil {
			tokens, done = api.NewTokens(auth.NewTokens(st), nil), st.Close
		}
		return err
	})
	return tokens, done, err
}

func (a *app) tokenCreate() *cobra.Command {
	var n api.NewToken
	var life time.Duration
	var asJSON bool
	c := &cobra.Command{
		Use:     "create --role ROLE",
		Short:   "Make a token and print it, this once",
		Example: "  rollcall token create --role compliance --name dora > dora.token",
		Args:    args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if n.Role == "" {
				return usage(c, "--role is one of %s", strings.Join(auth.Roles, ", "))
			}
			if n.Name == "" {
				n.Name = n.Role
			}
			n.Seconds = int64(life / time.Second)
			if n.AOR != "" {
				cfg, err := a.load()
				if err != nil {
					return err
				}
				aor, err := ownAOR(c, cfg, n.AOR)
				if err != nil {
					return err
				}
				n.AOR = aor.String()
			}
			return a.withTokens(c.Context(), func(tokens api.Tokens) error {
				t, err := tokens.CreateToken(c.Context(), n)
				if err != nil {
					return err
				}
				if asJSON {
					return a.json(t)
				}
				return a.say("%s", t.Secret)
			})
		},
	}
	c.Flags().StringVar(&n.Role, "role", "", "one of "+strings.Join(auth.Roles, ", "))
	c.Flags().StringVar(&n.Name, "name", "", "person or program that holds it, as records name it (default: the role)")
	c.Flags().StringVar(&n.AOR, "aor", "", "`AOR` of the account whose messages a bot sends and takes")
	c.Flags().DurationVar(&life, "expires", 0, "how long it lives, as 720h (default: for ever)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	_ = c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(auth.Roles, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (a *app) tokenList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the tokens, without their secrets",
		Args:  args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withTokens(c.Context(), func(tokens api.Tokens) error {
				list, err := tokens.Tokens(c.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return a.json(list)
				}
				rows := make([][]string, len(list))
				for i, t := range list {
					expires := "never"
					if !t.Expires.IsZero() {
						expires = t.Expires.Format(time.RFC3339)
					}
					rows[i] = []string{t.ID, t.Role, t.Name, t.Created.Format(time.RFC3339), expires, t.AOR}
				}
				return a.table([]string{"ID", "ROLE", "NAME", "CREATED", "EXPIRES", "AOR"}, rows)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) tokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "End a token",
		Args:  args(1, 1, "ID"),
		RunE: func(c *cobra.Command, given []string) error {
			return a.withTokens(c.Context(), func(tokens api.Tokens) error {
				if err := tokens.RevokeToken(c.Context(), given[0]); err != nil {
					return fmt.Errorf("revoke: %w", err)
				}
				return nil
			})
		},
	}
}
