package main

import (
	"fmt"
	"strings"
	"testing"
)

const document = `

Network Working Group                                          A. Author
Request for Comments: 9999                                    Example Co
Category: Standards Track                                   January 2026


             A Title That Goes on
                 Over Two Lines

Table of Contents

   1.  Introduction . . . . . . . . . . . . . . . . . . . . . . . . .  1

1.  Introduction

   A list that is no heading:

   1.  one thing

1.1.  A Heading That Is Long and
      Goes On

2.Tight
5.  No heading, the number does not follow
12 packets were sent



Author                       Standards Track                    [Page 1]
` + "\f" + `
RFC 9999                        A Title                     January 2026


2.1  More

Appendix A.  Examples

A.1.  The First
`

func TestExtract(t *testing.T) {
	d, err := extract(document, false)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	fmt.Fprintf(&got, "%d %s\n", d.Number, d.Title)
	for _, s := range d.Sections {
		fmt.Fprintf(&got, "%s %s\n", s.Number, s.Title)
	}
	want := `9999 A Title That Goes on Over Two Lines
1 Introduction
1.1 A Heading That Is Long and Goes On
2 Tight
2.1 More
A Examples
A.1 The First
`
	if got.String() != want {
		t.Errorf("got:\n%swant:\n%s", got.String(), want)
	}
}

func TestExtractRefuses(t *testing.T) {
	for _, text := range []string{"", "Request for Comments: 1\n\n  Title\n\n  no sections\n", "1.  Heading\n"} {
		if d, err := extract(text, false); err == nil {
			t.Errorf("extract(%q) = %v", text, d)
		}
	}
}

func TestExtractIndented(t *testing.T) {
	d, err := extract("Request for Comments: 9998\n\n  Old\n\n  1 First\n\n     1.1 Below\n\n  2 no\n  heading\n", true)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Sections) != 2 || d.Sections[1].Number != "1.1" || d.Sections[1].Title != "Below" {
		t.Errorf("got %v", d.Sections)
	}
}
