package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// security is what the environment says of how to log in, if that has to be; CA is a file.
type security struct {
	Mechanism string `json:"mechanism"`
	User      string `json:"user"`
	Password  string `json:"password"`
	Token     string `json:"token"`
	CA        string `json:"ca"`
}

// at has the options that lead to the server.
func at(address string) []kgo.Opt {
	options := []kgo.Opt{kgo.SeedBrokers(address)}
	var said security
	if text := os.Getenv("KAFKA_SECURITY"); text != "" {
		must(json.Unmarshal([]byte(text), &said))
	}
	if mechanism := said.mechanism(); mechanism != nil {
		options = append(options, kgo.SASL(mechanism))
	}
	if said.CA != "" {
		pem, err := os.ReadFile(said.CA)
		must(err)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		host, _, err := net.SplitHostPort(address)
		must(err)
		options = append(options, kgo.DialTLSConfig(&tls.Config{RootCAs: roots, ServerName: host}))
	}
	return options
}

func (it security) mechanism() sasl.Mechanism {
	switch it.Mechanism {
	case "PLAIN":
		return plain.Auth{User: it.User, Pass: it.Password}.AsMechanism()
	case "SCRAM-SHA-256":
		return scram.Auth{User: it.User, Pass: it.Password}.AsSha256Mechanism()
	case "SCRAM-SHA-512":
		return scram.Auth{User: it.User, Pass: it.Password}.AsSha512Mechanism()
	case "OAUTHBEARER":
		return oauth.Auth{Token: it.Token}.AsMechanism()
	}
	return nil
}
