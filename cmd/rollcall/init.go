package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rollcall/config"
)

func (a *app) init() *cobra.Command {
	var (
		domains, listen []string
		dataDir, http   string
		output, secure  string
		yes, force      bool
	)
	c := &cobra.Command{
		Use:   "init",
		Short: "Write a commented configuration and a certificate, after a few questions or from flags",
		Long: "init writes a configuration with every key explained. It asks for what no flag gives, if it runs on a\n" +
			"terminal and without --yes. With an address for SIP over TLS it makes a certificate that is signed by its own\n" +
			"key, beside the configuration; put one that your clients trust in its place. Existing files are not overwritten\n" +
			"without --force.",
		Example: "  rollcall init --domain example.com --data-dir /var/lib/rollcall --listen 0.0.0.0:5060 --yes",
		Args:    args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg := config.Default()
			base := strings.TrimSuffix(output, filepath.Ext(output))
			certFile, keyFile := base+"-cert.pem", base+"-key.pem"
			exists := func(path string) error {
				if _, err := os.Stat(path); err == nil && !force {
					return fmt.Errorf("%s exists; give --force to overwrite it or --output for another name", path)
				}
				return nil
			}
			if err := exists(output); err != nil {
				return err
			}
			ask := asker{app: a, ctx: c.Context(), in: bufio.NewReader(io.LimitReader(a.stdin, 1<<16)), quiet: yes || !isTerminalInput(a.stdin)}
			if len(domains) == 0 {
				if ask.quiet {
					return usage(c, "no domain: give --domain")
				}
				domains = ask.list("Domain of the accounts", "")
			}
			if dataDir == "" {
				dataDir = ask.text("Folder for data", defaultDataDir())
			}
			if len(listen) == 0 {
				listen = ask.list("Address for SIP, UDP and TCP", "0.0.0.0:5060")
			}
			if !c.Flags().Changed("tls") && !ask.quiet {
				if secure = ask.text("Address for SIP over TLS, - for none", "0.0.0.0:5061"); secure == "-" {
					secure = ""
				}
			}
			if !c.Flags().Changed("http") {
				http = ask.text("Address for HTTP (health, metrics)", cfg.HTTP.Address)
			}
			if ask.err != nil {
				return ask.err
			}
			cfg.Domains, cfg.DataDir, cfg.HTTP.Address = domains, dataDir, http
			cfg.KeysDir = filepath.Join(dataDir, "keys")
			cfg.Listen = nil
			for _, l := range listen {
				cfg.Listen = append(cfg.Listen, config.Listen{Address: l, Transport: "udp"}, config.Listen{Address: l, Transport: "tcp"})
			}
			if secure != "" {
				cfg.Listen = append(cfg.Listen, config.Listen{Address: secure, Transport: "tls", CertFile: filepath.Base(certFile), KeyFile: filepath.Base(keyFile)})
			}
			if faults := cfg.Validate(); len(faults) > 0 {
				return config.Faults(faults)
			}
			if secure != "" {
				if err := errors.Join(exists(certFile), exists(keyFile)); err != nil {
					return err
				}
				cert, key, err := makeCertificate(domains, time.Now())
				if err == nil {
					err = writeNew(keyFile, key, 0o600, force)
				}
				if err != nil {
					return err
				}
				if err := writeNew(certFile, cert, 0o644, force); err != nil {
					return errors.Join(err, os.Remove(keyFile)) // which is of no use without
				}
				a.note("Wrote %s and %s, a certificate that no client trusts by itself.", certFile, keyFile)
			}
			if err := writeNew(output, cfg.TOML(), 0o644, force); err != nil {
				return err
			}
			a.note("Wrote %s. Next:", output)
			a.note("  rollcall check --config %s", shellQuote(output))
			a.note("  rollcall user add alice --config %s", shellQuote(output))
			a.note("  rollcall serve --config %s", shellQuote(output))
			return nil
		},
	}
	f := c.Flags()
	f.StringSliceVar(&domains, "domain", nil, "`DOMAIN` of the accounts; again or with commas for more")
	f.StringVar(&dataDir, "data-dir", "", "`FOLDER` for data (default "+defaultDataDir()+")")
	f.StringSliceVar(&listen, "listen", nil, "`ADDRESS` for SIP over UDP and TCP; again for more (default 0.0.0.0:5060)")
	f.StringVar(&secure, "tls", "", "`ADDRESS` for SIP over TLS, for which a certificate is made")
	f.StringVar(&http, "http", "", "`ADDRESS` for HTTP, empty for none (default "+config.Default().HTTP.Address+")")
	f.StringVar(&output, "output", "rollcall.toml", "`FILE` to write")
	f.BoolVar(&yes, "yes", false, "ask nothing")
	f.BoolVar(&force, "force", false, "overwrite the file")
	return c
}

// defaultDataDir is the system's folder for root, and one in the home of anybody else, who could not write there.
func defaultDataDir() string {
	if os.Getuid() == 0 {
		return config.Default().DataDir
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "share", "rollcall")
	}
	return config.Default().DataDir
}

// writeNew writes a whole file or none: what has been there stays until the new one is complete.
func writeNew(path string, data []byte, mode os.FileMode, force bool) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".rollcall-*")
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if force {
		err = os.Rename(f.Name(), path)
	} else {
		err = os.Link(f.Name(), path) // fails when the file has appeared meanwhile
	}
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// asker asks questions; after the first error it asks no more.
type asker struct {
	*app
	ctx   context.Context // of the command
	in    *bufio.Reader
	quiet bool
	err   error
}

func (q *asker) text(question, def string) string {
	if q.quiet || q.err != nil {
		return def
	}
	for {
		prompt := question
		if def != "" {
			prompt += " [" + def + "]"
		}
		fmt.Fprint(q.stderr, prompt+": ")
		line, err := interruptible(q.ctx, func() (string, error) { return q.in.ReadString('\n') })
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
		if err != nil {
			q.err = fmt.Errorf("read answer: %w", err)
			return def
		}
		if def != "" {
			return def
		}
	}
}

func (q *asker) list(question, def string) []string {
	var out []string
	for part := range strings.SplitSeq(q.text(question, def), ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// shellQuote makes a path that can be pasted.
func shellQuote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@,%") == "" && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
