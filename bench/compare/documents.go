package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/sip/digest"
)

const (
	// documentBytes is the size of a document that users keep at the server.
	documentBytes = 1024
	// documentWriters write them, each the documents of one user after another.
	documentWriters = 32
)

// fill writes documents of 1 KB over XCAP until the accounts have n in all.
func (p *plan) fill(ctx context.Context, httpAddr string, accounts, n int) error {
	began := time.Now()
	each := (n + accounts - 1) / accounts
	body := contactList()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: documentWriters}}
	defer client.CloseIdleConnections()
	var next atomic.Int64
	var once sync.Once
	var failed error
	var wg sync.WaitGroup
	for range documentWriters {
		wg.Go(func() {
			for {
				user := int(next.Add(1)) - 1
				if user >= accounts || ctx.Err() != nil {
					return
				}
				if err := keep(ctx, client, httpAddr, fmt.Sprintf("u%06d", user), each, body); err != nil {
					once.Do(func() { failed = err; stop() })
					return
				}
			}
		})
	}
	wg.Wait()
	if failed == nil {
		failed = ctx.Err()
	}
	if failed != nil {
		return fmt.Errorf("write documents: %w", failed)
	}
	fmt.Fprintf(p.log, "%d documents of %d bytes written in %.0f s\n", each*accounts, documentBytes, time.Since(began).Seconds())
	return nil
}

// contactList is a document of a kilobyte.
func contactList() []byte {
	const head, foot = `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="friends">`, `</list></resource-lists>`
	var b strings.Builder
	b.WriteString(head)
	for i := 0; b.Len()+len(foot) < documentBytes-60; i++ {
		fmt.Fprintf(&b, `<entry uri="sip:friend%04d@%s"/>`, i, domain)
	}
	fmt.Fprintf(&b, "<!--%s-->", strings.Repeat(" ", documentBytes-b.Len()-len(foot)-7))
	b.WriteString(foot)
	return []byte(b.String())
}

// keep writes the documents of one user, with one nonce.
func keep(ctx context.Context, client *http.Client, httpAddr, user string, n int, body []byte) error {
	secrets := digest.NewSecrets(user, domain, user)
	var challenge digest.Challenge
	for i, count := 0, uint32(0); i < n; {
		path := fmt.Sprintf("/xcap/resource-lists/users/sip:%s@%s/list%d", user, domain, i)
		rq, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+httpAddr+path, bytes.NewReader(body))
		if err != nil {
			return err
		}
		rq.Header.Set("Content-Type", "application/resource-lists+xml")
		if challenge.Nonce != "" {
			count++
			c := digest.Credentials{Username: user, Realm: domain, Nonce: challenge.Nonce, URI: path, Algorithm: challenge.Algorithm,
				CNonce: "bench", QOP: "auth", Count: count, NC: fmt.Sprintf("%08x", count)}
			c.Response = string(c.AppendResponse(nil, &secrets, http.MethodPut))
			rq.Header.Set("Authorization", string(c.Append(nil)))
		}
		answer, err := client.Do(rq)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		if err = errors.Join(err, answer.Body.Close()); err != nil {
			return err
		}
		switch {
		case answer.StatusCode/100 == 2:
			i++
		case answer.StatusCode == http.StatusUnauthorized && (count == 0 || strings.Contains(answer.Header.Get("WWW-Authenticate"), "stale=true")):
			if challenge, err = digest.ParseChallenge(answer.Header.Get("WWW-Authenticate")); err != nil {
				return err
			}
			count = 0
		default:
			return fmt.Errorf("PUT %s: %s", path, answer.Status)
		}
	}
	return nil
}
