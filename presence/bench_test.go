package presence_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"rollcall/event"
	"rollcall/presence"
)

func published(tb testing.TB, client string) string {
	tb.Helper()
	text, err := os.ReadFile("testdata/" + client + ".xml")
	if err != nil {
		tb.Fatal(err)
	}
	text2, _, _ := strings.Cut(string(text), "<!-- seen as -->")
	return text2
}

// clients whose documents are small and large.
var benchClients = []string{"libpurple", "linphone"}

func BenchmarkParse(b *testing.B) {
	for _, client := range benchClients {
		b.Run(client, func(b *testing.B) {
			body := []byte(published(b, client))
			p, a := presence.New(presence.Options{}), alice(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, _, err := p.Parse(a, presence.TypePIDF, body, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkNotify composes one publication and writes what all watchers see.
func BenchmarkNotify(b *testing.B) {
	for _, client := range benchClients {
		b.Run(client, func(b *testing.B) {
			d := newDesk(b, presence.Options{})
			d.publish(published(b, client))
			a := alice(b)
			b.ReportAllocs()
			for b.Loop() {
				s, err := d.p.Compose(context.Background(), a, d.pubs)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := d.p.Body(context.Background(), a, s, event.View{Type: presence.TypePIDF}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
