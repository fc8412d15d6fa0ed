package api

import (
	"archive/tar"
	"context"
	"io"
	"mime"
	"net/http"
	"os"
	"path"
	"time"

	"rollcall/archive/export"
)

// Exports are exports that the server makes by itself. Each call but those that
// only ask for the state is recorded with its actor before it takes effect.
type Exports interface {
	// Export queues an export: ErrInvalid, ErrRefused.
	Export(ctx context.Context, actor string, e ExportRequest) (export.Job, error)
	// Exports lists the exports that are kept.
	Exports() []export.Job
	// ExportJob returns one: ErrNotFound.
	ExportJob(id string) (export.Job, error)
	// ExportFile opens a file of an export that is done, by the caller closed: ErrNotFound, ErrRefused.
	ExportFile(ctx context.Context, actor, id, name string) (*os.File, error)
	// ExportFiles calls f with each file of an export that is done: ErrNotFound, ErrRefused.
	ExportFiles(ctx context.Context, actor, id string, f func(name string, file *os.File) error) error
	// RemoveExport removes one: ErrNotFound, ErrRefused.
	RemoveExport(ctx context.Context, actor, id string) error
}

// ExportRequest says what is to be exported.
type ExportRequest struct {
	Query  string `json:"query"` // of archive search; "" is all
	Format string `json:"format"`
	Reason string `json:"reason"`
}

func exportRoutes(mux *http.ServeMux, b Exports) {
	mux.HandleFunc("POST /api/v1/exports", func(w http.ResponseWriter, r *http.Request) {
		var e ExportRequest
		if decode(w, r, &e) {
			j, err := b.Export(r.Context(), actorOf(r), e)
			if err == nil {
				w.Header().Set("Location", "/api/v1/exports/"+j.ID)
			}
			reply(w, j, err)
		}
	})
	mux.HandleFunc("GET /api/v1/exports", func(w http.ResponseWriter, _ *http.Request) { reply(w, b.Exports(), nil) })
	mux.HandleFunc("GET /api/v1/exports/{id}", func(w http.ResponseWriter, r *http.Request) {
		j, err := b.ExportJob(r.PathValue("id"))
		reply(w, j, err)
	})
	mux.HandleFunc("DELETE /api/v1/exports/{id}", func(w http.ResponseWriter, r *http.Request) {
		reply(w, struct{}{}, b.RemoveExport(r.Context(), actorOf(r), r.PathValue("id")))
	})
	mux.HandleFunc("GET /api/v1/exports/{id}/files/{name...}", func(w http.ResponseWriter, r *http.Request) {
		f, err := b.ExportFile(r.Context(), actorOf(r), r.PathValue("id"), r.PathValue("name"))
		if err != nil {
			reply(w, nil, err)
			return
		}
		defer f.Close()
		download(w, path.Base(r.PathValue("name")), "application/octet-stream")
		http.ServeContent(patient(w), r, "", time.Time{}, f)
	})
	mux.HandleFunc("GET /api/v1/exports/{id}/tar", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		started := false
		var out *tar.Writer
		err := b.ExportFiles(r.Context(), actorOf(r), id, func(name string, f *os.File) error {
			if !started {
				started = true
				download(w, "export-"+id+".tar", "application/x-tar")
				out = tar.NewWriter(patient(w))
			}
			fi, err := f.Stat()
			if err != nil {
				return err
			}
			if err := out.WriteHeader(&tar.Header{Name: "export-" + id + "/" + name, Mode: 0o600, Size: fi.Size(), ModTime: fi.ModTime(), Format: tar.FormatPAX}); err != nil {
				return err
			}
			_, err = io.Copy(out, f)
			return err
		})
		if err == nil {
			err = out.Close()
		}
		streamEnd(w, started, err)
	})
}

// download has a browser keep what follows as a file, and not show it.
func download(w http.ResponseWriter, name, kind string) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
}

// patientWriter gives each write half a minute, however long the whole takes.
type patientWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func patient(w http.ResponseWriter) *patientWriter {
	return &patientWriter{w, http.NewResponseController(w)}
}

func (p *patientWriter) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(eventTime)) // fails only for a writer that has none
	return p.ResponseWriter.Write(b)
}
