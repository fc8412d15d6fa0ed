package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"rollcall/config"
	"rollcall/server"
	"rollcall/sip/transport"
)

// certificateGood looks at the certificate of a listener as its clients will.
func certificateGood(l config.Listen, domains []string, now time.Time) (string, error) {
	c, err := server.ReadCertificate(l)
	if err != nil {
		return "", fmt.Errorf("%w; name the chain and its key in PEM, readable for the user of the server", err)
	}
	leaf := c.Certificates[0].Leaf
	if now.After(leaf.NotAfter) {
		return "", fmt.Errorf("%s expired on %s; renew it and reload the server", l.CertFile, leaf.NotAfter.Format(time.DateOnly))
	}
	if now.Before(leaf.NotBefore) {
		return "", fmt.Errorf("%s is valid from %s on; look at this machine's clock", l.CertFile, leaf.NotBefore.Format(time.DateOnly))
	}
	for _, d := range domains {
		if !slices.ContainsFunc(transport.Identities(leaf), func(name string) bool { return strings.EqualFold(name, d) }) {
			return "", fmt.Errorf("%s is not for %s, as clients want it (RFC 5922 §7.1); have the domain among its names", l.CertFile, d)
		}
	}
	return fmt.Sprintf("%s, until %s", l.CertFile, leaf.NotAfter.Format(time.DateOnly)), nil
}

// makeCertificate makes a certificate for the domains that is signed by its own key, valid for a year, and the key,
// both in PEM. It names each domain as RFC 5922 §7.1 has it and as a DNS name, for clients that look for one.
func makeCertificate(domains []string, now time.Time) (cert, key []byte, err error) {
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, fmt.Errorf("make a certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: domains[0]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, d := range domains {
		template.URIs = append(template.URIs, &url.URL{Scheme: "sip", Opaque: d})
		if ip := net.ParseIP(d); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, d)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		return nil, nil, fmt.Errorf("make a certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		return nil, nil, fmt.Errorf("make a certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), nil
}
