package access

import (
	"math/bits"
	"slices"
	"strings"
)

// reaches says whether the parts match name from a position to its end. As
// long as there is only one way to match, it takes that; for the rest it asks
// spreads.
func reaches(parts []part, name string, from int) bool {
	for i := range parts {
		switch p := &parts[i]; {
		case p.kind == literal:
			if !strings.HasPrefix(name[from:], p.text) {
				return false
			}
			from += len(p.text)
		case p.kind == within && (i == len(parts)-1 || strings.HasPrefix(parts[i+1].text, "/")):
			// What follows can't begin before the segment's end.
			from += len(segmentAt(name, from))
		case p.kind == anything && i == len(parts)-1:
			return true
		default:
			return spreads(parts[i:], name, from)
		}
	}
	return from == len(name)
}

// spreads says the same as reaches. It follows all ways at once, as the set of
// positions that can be reached after each part, instead of trying one after
// the other: there is no backtracking, and the cost is at most that of one pass
// over the name for each part.
func spreads(parts []part, name string, from int) bool {
	at := positions{low: from, high: from}
	at.add(from)
	for i := range parts {
		next := positions{low: len(name) + 1, high: -1}
		switch p := &parts[i]; p.kind {
		case literal:
			at.each(func(j int) {
				if strings.HasPrefix(name[j:], p.text) {
					next.add(j + len(p.text))
				}
			})
		case oneOf:
			at.each(func(j int) {
				segment := segmentAt(name, j)
				if _, found := slices.BinarySearch(p.values, segment); found {
					next.add(j + len(segment))
				}
			})
		case within:
			at.each(func(j int) {
				for next.add(j); j < len(name) && name[j] != '/' && !next.has(j+1); {
					j++
					next.add(j)
				}
			})
		case anything:
			if i == len(parts)-1 {
				return true
			}
			for j := at.low; j <= len(name); j++ {
				next.add(j)
			}
		case claim: // unresolved; it matches nothing
		}
		if next.high < 0 {
			return false
		}
		at = next
	}
	return at.has(len(name))
}

// segmentAt is what stands from a position to the next slash or the end.
func segmentAt(name string, from int) string {
	segment, _, _ := strings.Cut(name[from:], "/")
	return segment
}

// positions is a set of places in a name, from 0 to its length.
type positions struct {
	words [MaxPath/wordSize + 1]uint64
	// low and high are the least and the greatest of them.
	low, high int
}

const wordSize = 64

func (p *positions) add(i int) {
	p.words[i/wordSize] |= 1 << (i % wordSize)
	p.low, p.high = min(p.low, i), max(p.high, i)
}

func (p *positions) has(i int) bool {
	return p.words[i/wordSize]&(1<<(i%wordSize)) != 0
}

// each calls visit for every position, in order.
func (p *positions) each(visit func(int)) {
	for w := p.low / wordSize; w <= p.high/wordSize; w++ {
		for word := p.words[w]; word != 0; word &= word - 1 {
			visit(w*wordSize + bits.TrailingZeros64(word))
		}
	}
}
