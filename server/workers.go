package server

import "sync"

// workers run handlers off the receive loop. A goroutine that has ended its task
// waits for the next one, as its stack has grown to what handlers need.
type workers struct {
	wg sync.WaitGroup

	mu     sync.Mutex
	idle   []chan func()
	closed bool
}

// maxIdle bounds the goroutines that wait for work.
const maxIdle = 256

// Go runs f on a goroutine of its own, or at once when the server has ended.
func (w *workers) Go(f func()) {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		f()
		return
	}
	if n := len(w.idle); n > 0 {
		c := w.idle[n-1]
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		c <- f
		return
	}
	w.wg.Add(1)
	w.mu.Unlock()
	go func() {
		defer w.wg.Done()
		w.run(f)
	}()
}

func (w *workers) run(f func()) {
	c := make(chan func(), 1)
	for f != nil {
		f()
		w.mu.Lock()
		if w.closed || len(w.idle) >= maxIdle {
			w.mu.Unlock()
			return
		}
		w.idle = append(w.idle, c)
		w.mu.Unlock()
		f = <-c
	}
}

// Wait ends the idle goroutines and waits for the others.
func (w *workers) Wait() {
	w.mu.Lock()
	w.closed = true
	for _, c := range w.idle {
		c <- nil
	}
	w.idle = nil
	w.mu.Unlock()
	w.wg.Wait()
}
