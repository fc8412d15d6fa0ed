package export

import (
	"bytes"
	"encoding/json"
	"io"
	"runtime"
	"sync"

	"rollcall/archive"
)

// linesTogether are the messages whose lines are made at a time.
const linesTogether = 256

// portion is a part of a file of records: its lines are made while those before it are
// written.
type portion struct {
	list []*message
	done chan struct{}
	text bytes.Buffer
	err  error
}

// lines writes the records of messages with their proofs, in order. The lines are made by
// as many goroutines as there are processors, each with a prover of its own.
func (e *exporter) lines(w io.Writer, list []*message) error {
	var portions []*portion
	for at := 0; at < len(list); at += linesTogether {
		portions = append(portions, &portion{list: list[at:min(at+linesTogether, len(list))], done: make(chan struct{})})
	}
	work, ahead := make(chan *portion), make(chan struct{}, 2*len(e.provers))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, prover := range e.provers {
		wg.Go(func() {
			for p := range work {
				p.err = p.make(prover)
				close(p.done)
			}
		})
	}
	wg.Go(func() {
		defer close(work)
		for _, p := range portions {
			select {
			case ahead <- struct{}{}: // no more of them in memory than that
			case <-stop:
				return
			}
			select {
			case work <- p:
			case <-stop:
				return
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	for _, p := range portions {
		<-p.done
		if p.err != nil {
			return p.err
		}
		if _, err := w.Write(p.text.Bytes()); err != nil {
			return err
		}
		p.text = bytes.Buffer{}
		<-ahead
	}
	return nil
}

func (p *portion) make(prover *archive.Prover) error {
	enc := json.NewEncoder(&p.text)
	enc.SetEscapeHTML(false)
	for _, m := range p.list {
		for _, r := range append([]*archive.Record{m.Record}, m.outcomes...) {
			line, err := prove(prover, r)
			if err != nil {
				return err
			}
			if err := enc.Encode(line); err != nil {
				return err
			}
		}
	}
	return nil
}

// newProvers returns one for each processor, up to eight.
func newProvers(folder archive.Folder, signed []byte) (list []*archive.Prover, err error) {
	for range min(runtime.GOMAXPROCS(0), 8) {
		p, err := folder.ProverOf(signed)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}
