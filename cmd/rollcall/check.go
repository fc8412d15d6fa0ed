package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"rollcall/api"
	"rollcall/config"
	"rollcall/server"
)

// finding is one line of a check.
type finding struct {
	What string `json:"what"` // "config", "data_dir", "archive", "store", "listen", "certificate"
	OK   bool   `json:"ok"`
	Text string `json:"text"`
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Key  string `json:"key,omitempty"`
	Fix  string `json:"fix,omitempty"`
}

func (a *app) check() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Look for faults in configuration, folders, store, archive, ports and certificates",
		Long: "Every fault is printed with what to do about it, those of the configuration with their line. Nothing is\n" +
			"changed. It can run beside the server.",
		Args: args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			path, err := config.Find(a.configFile)
			if err != nil {
				return err
			}
			found, err := inspect(c, path)
			if err != nil {
				return err
			}
			failed := false
			rows := make([][]string, len(found))
			for i, f := range found {
				word := a.color(green, "ok")
				if !f.OK {
					word, failed = a.color(red, "fault"), true
				}
				text := f.Text
				if f.File != "" {
					text = config.Fault{File: f.File, Line: f.Line, Key: f.Key, Text: f.Text}.Error()
				}
				if f.Fix != "" {
					text += "; " + f.Fix
				}
				what := f.What
				if isTerminal(a.stdout) {
					what = fmt.Sprintf("%-8s", what)
				}
				rows[i] = []string{word, what, text}
			}
			if asJSON {
				err = a.json(found)
			} else {
				err = a.lines(rows)
			}
			if err == nil && failed {
				return errReported
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// inspect looks at everything a start would need.
func inspect(c *cobra.Command, path string) ([]finding, error) {
	ctx := c.Context()
	cfg, err := config.Load(path)
	var faults config.Faults
	if errors.As(err, &faults) {
		var found []finding
		for _, f := range faults {
			found = append(found, finding{What: "config", Text: f.Text, File: f.File, Line: f.Line, Key: f.Key, Fix: f.Fix})
		}
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	var found []finding
	good := func(what, format string, args ...any) {
		found = append(found, finding{What: what, OK: true, Text: fmt.Sprintf(format, args...)})
	}
	report := func(what string, err error, format string, args ...any) {
		if err == nil {
			good(what, format, args...)
			return
		}
		text, fix, _ := strings.Cut(err.Error(), "; ")
		found = append(found, finding{What: what, Text: text, Fix: fix})
	}
	good("config", "%s", path)
	report("data_dir", folder(cfg.DataDir), "%s", cfg.DataDir)
	report("keys_dir", keysFolder(cfg.KeysDir), "%s", cfg.KeysDir)

	var running *api.Status
	client, err := api.Dial(ctx, cfg.Socket())
	switch {
	case err == nil:
		defer client.Close()
		s, err := client.Status(ctx)
		report("server", err, "running, pid %d, since %s", s.PID, s.Started.Format("2006-01-02 15:04:05 MST"))
		if err == nil {
			running = &s
			for _, p := range s.Problems {
				report("server", errors.New(p), "")
			}
		}
	case errors.Is(err, api.ErrNoServer):
		good("server", "not running")
	default:
		report("server", err, "")
	}
	checkPorts(cfg, running, report)
	for _, l := range cfg.Listen {
		if l.Secure() {
			text, err := certificateGood(l, cfg.Domains, time.Now())
			report("certificate", err, "%s", text)
		}
	}
	for _, p := range cfg.Peer {
		if p.CAFile != "" {
			_, err := server.ReadAuthorities(p.CAFile)
			if err != nil {
				err = fmt.Errorf("peer %s: %w; name certificates in PEM, readable for the user of the server", p.Name, err)
			}
			report("certificate", err, "%s, for peer %s", p.CAFile, p.Name)
		}
	}
	if running != nil {
		good("store", "%s, in use by the running server", storeName(cfg))
	} else {
		text, err := tryStore(ctx, cfg)
		switch {
		case inUse(err):
			err = fmt.Errorf("%w; a server that starts or stops has it, or a server of another configuration: try again", err)
		case err != nil && !strings.Contains(err.Error(), "; ") && storeName(cfg) != "embedded":
			err = fmt.Errorf("%w; look at store.url and store.password_file, and whether Redis runs", err)
		case err != nil && storeName(cfg) == "embedded":
			err = fmt.Errorf("%w; give the user of the server access to data_dir", err)
		}
		report("store", err, "%s", text)
	}
	text, err := archiveTailWhole(c, cfg.ArchiveDir())
	report("archive", err, "%s", text)
	return found, nil
}

// folder says whether a folder can be used, or made.
func folder(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		parent := filepath.Dir(dir)
		for {
			if _, err := os.Stat(parent); !errors.Is(err, fs.ErrNotExist) || parent == filepath.Dir(parent) {
				break
			}
			parent = filepath.Dir(parent)
		}
		if unix.Access(parent, unix.W_OK|unix.X_OK) != nil {
			return fmt.Errorf("%s does not exist and cannot be made here; make it for the user of the server: mkdir -p %s", dir, shellQuote(dir))
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w; give the user of the server access", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder; remove it or name another", dir)
	}
	if unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK) != nil {
		return fmt.Errorf("%s cannot be written; give it to the user of the server, or run this as that user", dir)
	}
	return nil
}

func keysFolder(dir string) error {
	if err := folder(dir); err != nil {
		return err
	}
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s can be read by others (mode %04o); chmod 700 %s", dir, info.Mode().Perm(), shellQuote(dir))
	}
	return nil
}

// checkPorts binds what a start would bind, unless the running server has it.
func checkPorts(cfg *config.Config, running *api.Status, report func(string, error, string, ...any)) {
	for i, l := range cfg.Listen {
		if running != nil && i < len(running.Listen) && running.Listen[i].Transport == l.Transport && samePort(running.Listen[i].Address, l.Address) {
			report("listen", nil, "%s %s, held by the running server", l.Transport, running.Listen[i].Address)
			continue
		}
		report("listen", portFree(l.Transport, l.Address), "%s %s is free", l.Transport, l.Address)
	}
	if cfg.HTTP.Address == "" {
		return
	}
	if running != nil && samePort(running.HTTP, cfg.HTTP.Address) {
		report("http", nil, "%s, held by the running server", running.HTTP)
		return
	}
	report("http", portFree("tcp", cfg.HTTP.Address), "%s is free", cfg.HTTP.Address)
}

func samePort(bound, configured string) bool {
	b := bound[strings.LastIndexByte(bound, ':')+1:]
	c := configured[strings.LastIndexByte(configured, ':')+1:]
	return bound != "" && (b == c || c == "0")
}
