package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"rollcall/api"
	"rollcall/config"
)

func (a *app) userAlias() *cobra.Command {
	c := &cobra.Command{
		Use:   "alias",
		Short: "Further addresses of accounts: add, list, remove",
		Long: "An alias is a further address of an account, such as sales@example.com for the person who sells. Messages to it and watchers\n" +
			"of it reach the account; nobody registers or logs in as it. Each has an owner and a purpose, which `user report` lists.",
	}
	group(c)
	c.AddCommand(a.aliasAdd(), a.aliasList(), a.aliasRemove())
	return c
}

func (a *app) aliasAdd() *cobra.Command {
	var purpose string
	c := &cobra.Command{
		Use:     "add ALIAS OWNER --purpose TEXT",
		Short:   "Give an account a further address",
		Example: "  rollcall user alias add sales@example.com alice@example.com --purpose \"orders from customers\"",
		Args:    args(2, 2, "ALIAS OWNER"),
		RunE: func(c *cobra.Command, given []string) error {
			if purpose == "" {
				return usage(c, "--purpose says what the alias is for")
			}
			return a.withUsers(c.Context(), func(cfg *config.Config, users api.Users) error {
				alias, err := ownAOR(c, cfg, given[0])
				if err != nil {
					return err
				}
				owner, err := ownAOR(c, cfg, given[1])
				if err != nil {
					return err
				}
				if err := users.AddAlias(c.Context(), api.Alias{AOR: alias.String(), Owner: owner.String(), Purpose: purpose}); err != nil {
					return adviseList(err)
				}
				return a.say("%s is an alias of %s", alias, owner)
			})
		},
	}
	c.Flags().StringVar(&purpose, "purpose", "", "what it is for, in one line of `TEXT`")
	return c
}

func (a *app) aliasList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the aliases with their owners",
		Args:  args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withUsers(c.Context(), func(cfg *config.Config, users api.Users) error {
				list, err := users.Aliases(c.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return a.json(list)
				}
				return a.aliasTable(list, cfg.Location())
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) aliasTable(list []api.Alias, zone *time.Location) error {
	rows := make([][]string, len(list))
	for i, x := range list {
		rows[i] = []string{x.AOR, x.Owner, x.Purpose, x.Created.In(zone).Format(time.RFC3339), x.By}
	}
	return a.table([]string{"ALIAS", "OWNER", "PURPOSE", "CREATED", "BY"}, rows)
}

func (a *app) aliasRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "remove ALIAS",
		Short: "Take an alias away; its name is in quarantine",
		Args:  args(1, 1, "ALIAS"),
		RunE: func(c *cobra.Command, given []string) error {
			return a.withUsers(c.Context(), func(cfg *config.Config, users api.Users) error {
				alias, err := ownAOR(c, cfg, given[0])
				if err != nil {
					return err
				}
				if err := users.RemoveAlias(c.Context(), alias.String()); err != nil {
					if errors.Is(err, api.ErrNotFound) {
						return fmt.Errorf("%w; `rollcall user alias list` shows those there are", err)
					}
					return err
				}
				return a.say("%s is no alias any more", alias)
			})
		},
	}
}
