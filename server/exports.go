package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"rollcall/api"
	"rollcall/archive"
	"rollcall/archive/export"
	"rollcall/config"
)

// Actions of what is done with exports, besides the act that seals one.
const (
	actExportRequest  = "export-request"
	actExportDownload = "export-download"
	actExportDelete   = "export-delete"
)

// openExports reads the exports that were asked for.
func (s *Server) openExports(cfg *config.Config) (err error) {
	s.exports, err = export.OpenJobs(filepath.Join(cfg.DataDir, "exports"), s.runExport)
	return err
}

// runExports makes exports until ctx ends.
func (s *Server) runExports(ctx context.Context) {
	s.exports.Run(ctx, func(err error) { s.log.Warn("exports", zap.Error(err)) })
}

// runExport makes one export.
func (s *Server) runExport(ctx context.Context, j export.Job, dir string, progress func(done, all int)) (*export.Manifest, error) {
	cfg := s.cfg.Load()
	q, err := archive.ParseQuery(j.Query, cfg.Location())
	if err != nil {
		return nil, err
	}
	people := map[string]export.Person{}
	err = backend{s}.Users().List(ctx, func(u api.User) error {
		people[u.AOR] = export.Person{Name: u.DisplayName, Email: u.Email, Unit: u.Unit}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	return export.Run(ctx, dir, export.Options{
		Folder: archive.Folder{Dir: cfg.ArchiveDir(), Keys: s.ring}, Query: q, Text: j.Query, Format: j.Format, Zone: cfg.Location(),
		Product: "rollcall", Progress: progress,
		People: func(aor string) (export.Person, bool) { p, ok := people[aor]; return p, ok },
		Act: func(ctx context.Context, manifest string) (archive.ID, error) {
			r, err := s.act(ctx, j.Actor, export.ActExport, j.Format+" "+j.Query, j.Reason, export.Detail{ManifestSHA256: manifest})
			return r.ID(), err
		},
	})
}

// exportError tells which of the API's errors an error is.
func exportError(err error) error {
	if errors.Is(err, export.ErrNoJob) {
		return api.NotFound(err.Error())
	}
	for _, k := range []struct{ from, to error }{
		{export.ErrFormat, api.ErrInvalid}, {export.ErrNotDone, api.ErrRefused}, {export.ErrTooMany, api.ErrRefused},
	} {
		if errors.Is(err, k.from) {
			return fmt.Errorf("%w: %w", k.to, err)
		}
	}
	return err
}

// Export implements api.Exports.
func (b backend) Export(ctx context.Context, actor string, e api.ExportRequest) (export.Job, error) {
	if _, err := archive.ParseQuery(e.Query, b.cfg.Load().Location()); err != nil {
		return export.Job{}, fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	if strings.TrimSpace(e.Reason) == "" {
		return export.Job{}, fmt.Errorf("%w: an export needs a reason", api.ErrInvalid)
	}
	if _, err := b.act(ctx, actor, actExportRequest, e.Format+" "+e.Query, e.Reason, nil); err != nil {
		return export.Job{}, err
	}
	j, err := b.exports.Add(export.Job{Query: e.Query, Format: e.Format, Actor: actor, Reason: e.Reason})
	return j, exportError(err)
}

// Exports implements api.Exports.
func (b backend) Exports() []export.Job { return b.exports.List() }

// ExportJob implements api.Exports.
func (b backend) ExportJob(id string) (export.Job, error) {
	j, err := b.exports.Get(id)
	return j, exportError(err)
}

// ExportFile implements api.Exports.
func (b backend) ExportFile(ctx context.Context, actor, id, name string) (*os.File, error) {
	f, err := b.exports.Open(id, name)
	if err != nil {
		return nil, exportError(err)
	}
	if _, err := b.act(ctx, actor, actExportDownload, id+" "+name, "", nil); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// ExportFiles implements api.Exports.
func (b backend) ExportFiles(ctx context.Context, actor, id string, f func(name string, file *os.File) error) error {
	names, err := b.exports.Names(id)
	if err != nil {
		return exportError(err)
	}
	if _, err := b.act(ctx, actor, actExportDownload, id, "", nil); err != nil {
		return err
	}
	for _, name := range names {
		file, err := b.exports.Open(id, name)
		if err != nil {
			return exportError(err)
		}
		if err := errors.Join(f(name, file), file.Close()); err != nil {
			return err
		}
	}
	return nil
}

// RemoveExport implements api.Exports.
func (b backend) RemoveExport(ctx context.Context, actor, id string) error {
	if _, err := b.exports.Get(id); err != nil {
		return exportError(err)
	}
	if _, err := b.act(ctx, actor, actExportDelete, id, "", nil); err != nil {
		return err
	}
	return exportError(b.exports.Remove(id))
}
