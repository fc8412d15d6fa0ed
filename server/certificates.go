package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rollcall/config"
)

// certificate is what a TLS listener shows, and what it asks for. A reload reads it
// again from the files; connections keep what they began with.
type certificate struct {
	listen config.Listen
	now    atomic.Pointer[tls.Config]
}

// ReadCertificate reads the files of a TLS listener and says what is wrong with them. The
// configuration it returns has one certificate, with its leaf parsed.
func ReadCertificate(l config.Listen) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(l.CertFile, l.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", l.CertFile, l.KeyFile, err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if l.ClientCAFile == "" {
		return c, nil
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	if c.ClientCAs, err = ReadAuthorities(l.ClientCAFile); err != nil {
		return nil, fmt.Errorf("client_ca_file: %w", err)
	}
	return c, nil
}

// ReadAuthorities reads who may sign certificates.
func ReadAuthorities(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM", path)
	}
	return pool, nil
}

func newCertificate(l config.Listen) (*certificate, error) {
	c := &certificate{listen: l}
	return c, c.read()
}

// read takes what the files have now. After an error what was there stays.
func (c *certificate) read() error {
	next, err := ReadCertificate(c.listen)
	if err == nil {
		c.now.Store(next)
	}
	return err
}

// config is for the listener.
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return c.now.Load(), nil
	}}
}

func (c *certificate) expires() time.Time { return c.now.Load().Certificates[0].Leaf.NotAfter }

// certificateSoon is how long before its end a certificate is complained about.
const certificateSoon = 14 * 24 * time.Hour

func (s *Server) logCertificate(c *certificate) {
	fields := []zap.Field{zap.String("file", c.listen.CertFile), zap.Time("expires", c.expires())}
	switch left := time.Until(c.expires()); {
	case left <= 0:
		s.log.Error("certificate has expired", fields...)
	case left < certificateSoon:
		s.log.Warn("certificate expires soon", fields...)
	default:
		s.log.Info("certificate", fields...)
	}
}

// openCertificates reads those of all listeners, and those that sign the ones of peers.
func (s *Server) openCertificates(cfg *config.Config) error {
	s.certificates = make([]*certificate, len(cfg.Listen))
	s.peerRoots = map[string]*x509.CertPool{}
	var faults []error
	for _, p := range cfg.Peer {
		if p.CAFile == "" {
			continue
		}
		var err error
		if s.peerRoots[p.CAFile], err = ReadAuthorities(p.CAFile); err != nil {
			faults = append(faults, fmt.Errorf("ca_file of peer %s: %w", p.Name, err))
		}
	}
	for i, l := range cfg.Listen {
		if !l.Secure() {
			continue
		}
		c, err := newCertificate(l)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		s.logCertificate(c)
		s.certificates[i] = c
	}
	return errors.Join(faults...)
}

// readCertificates takes renewed ones.
func (s *Server) readCertificates() {
	for _, c := range s.certificates {
		if c == nil {
			continue
		}
		if err := c.read(); err != nil {
			s.log.Error("certificate stays as it was", zap.Error(err))
			continue
		}
		s.logCertificate(c)
	}
}

// certificateEnd is when the first certificate expires, in seconds since 1970; 0 without any.
func (s *Server) certificateEnd() float64 {
	var end int64
	for _, c := range s.certificates {
		if c == nil {
			continue
		}
		if t := c.expires().Unix(); end == 0 || t < end {
			end = t
		}
	}
	return float64(end)
}
