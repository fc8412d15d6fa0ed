package archive

import (
	"strings"
	"unicode"
)

// plainLetters are letters with a mark or a stroke, each line behind the letter
// that people write instead when they search.
const plainLetters = `
aàáâãäåāăąǎǟǡǻȁȃȧḁạảấầẩẫậắằẳẵặ
bḃḅḇ
cçćĉċčḉ
dďđḋḍḏḑḓ
eèéêëēĕėęěȅȇȩḕḗḙḛḝẹẻẽếềểễệ
fḟ
gĝğġģǧǵḡ
hĥħȟḣḥḧḩḫẖ
iìíîïĩīĭįıǐȉȋḭḯỉị
jĵǰ
kķǩḱḳḵ
lĺļľłḷḹḻḽ
mḿṁṃ
nñńņňǹṅṇṉṋ
oòóôõöøōŏőơǒǫǭǿȍȏȫȭȯȱṍṏṑṓọỏốồổỗộớờởỡợ
pṕṗ
rŕŗřȑȓṙṛṝṟ
sśŝşšſșṡṣṥṧṩẛ
tţťțṫṭṯṱẗ
uùúûüũūŭůűųưǔǖǘǚǜȕȗṳṵṷṹṻụủứừửữự
vṽṿ
wŵẁẃẅẇẉẘ
xẋẍ
yýÿŷȳẏẙỳỵỷỹ
zźżžẑẓẕ
αά
εέ
ηή
ιΐίϊ
οό
σς
υΰϋύ
ωώ
гѓ
еѐёӗ
жӂӝ
зӟ
ийѝӣӥ
кќ
оӧ
уўӯӱӳ
чӵ
ыӹ
эӭ
ії
`

// longLetters are letters that people write as two.
var longLetters = map[rune]string{'ß': "ss", 'æ': "ae", 'ǣ': "ae", 'ǽ': "ae", 'œ': "oe"}

var plainOf = func() map[rune]rune {
	m := map[rune]rune{}
	for _, line := range strings.Fields(plainLetters) {
		var plain rune
		for i, c := range line {
			if i == 0 {
				plain = c
			} else {
				m[c] = plain
			}
		}
	}
	return m
}()

// Words returns the words of a text as a search compares them, parted by one
// space: letters and digits alone, small, without accents. Chinese characters
// and kana, which are written without spaces, are a word each. The words of
// equal texts are equal, whether accents were written with their letters or behind them.
func Words(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	gap, alone := false, false // a gap is due; the last one was a word of its own
	for _, c := range s {
		switch {
		case c < 0x80:
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			} else if !('a' <= c && c <= 'z' || '0' <= c && c <= '9') {
				gap = true
				continue
			}
		case 0x300 <= c && c <= 0x36f: // accents behind their letters
			continue
		case !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.IsMark(c):
			gap = true
			continue
		}
		single := c >= 0x2e80 && unicode.In(c, unicode.Han, unicode.Hiragana, unicode.Katakana)
		if (gap || single || alone) && b.Len() > 0 {
			b.WriteByte(' ')
		}
		gap, alone = false, single
		if c < 0x80 {
			b.WriteByte(byte(c))
			continue
		}
		c = unicode.ToLower(c)
		if long := longLetters[c]; long != "" {
			b.WriteString(long)
			continue
		}
		if p, ok := plainOf[c]; ok {
			c = p
		}
		b.WriteRune(c)
	}
	return b.String()
}
