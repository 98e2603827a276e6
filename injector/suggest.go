package injector

import (
	"slices"
	"strings"
	"unicode"
)

// nearest returns the candidate that v was probably meant to be, or "".
// Up to a third of the letters may differ.
func nearest(v string, candidates []string) string {
	// Neither is a key of ours longer than 64 bytes nor a container's name, and
	// nobody looks for a mistake among more than 100; comparing would only cost.
	if len(v) > maxGuess || len(candidates) > 100 {
		return ""
	}
	best, bestDistance := "", len(v)/3+1
	for _, c := range candidates {
		if d := distance(v, c); d < bestDistance || d == bestDistance && best == "" {
			best, bestDistance = c, d
		}
	}
	return best
}

// maxGuess bounds the names for which another one is looked for.
const maxGuess = 64

// maxHints is how many keys one refusal proposes: the request and the limit,
// where a name says neither.
const maxHints = 2

// hint says which of our keys an unknown key was probably meant to be, as a
// clause that ends a sentence, or is empty.
func hint(name string, known []string) string {
	if len(name) > maxGuess {
		return ""
	}
	plain := strings.Join(words(name), "-")
	if key, ok := peerKey(plain); ok {
		if len(key.Ours) == 0 {
			return key.Note
		}
		return didYouMean(key.Ours)
	}
	if ours, ok := intents[plain]; ok {
		return didYouMean([]string{ours})
	}
	if keys := meant(name, known); len(keys) > 0 {
		return didYouMean(keys)
	}
	return ""
}

func didYouMean(keys []string) string {
	return "did you mean " + Prefix + strings.Join(keys, " or "+Prefix) + "?"
}

// intents are names of no product that say clearly what is wanted, in other
// words than our key.
var intents = map[string]string{ //nolint:gochecknoglobals // never changed
	"disable": `inject: "false"`, "disabled": `inject: "false"`, "skip": `inject: "false"`, "ignore": `inject: "false"`,
	"skip-inject": `inject: "false"`, "skip-injection": `inject: "false"`, "no-inject": `inject: "false"`, "opt-out": `inject: "false"`,
	"disable-inject": `inject: "false"`, "disable-injection": `inject: "false"`,
	"sidecar": "mode: sidecar", "sidecar-enabled": "mode: sidecar", "init-only": "mode: init", "init": "mode: init",
	"inject-containers": "containers",
}

// meant returns the known keys that share most words with the name, best
// first. Words count by their meaning: mem is memory and ttl an expiration.
// A key that says the opposite is never returned, however few letters differ:
// skip-containers is not containers, and a request is not a limit.
func meant(name string, known []string) []string {
	// Half a key's weight in common is chance: access-key and access-id.
	const enough = 0.55
	given := meanings(words(name))
	var best []string
	bestScore := enough
	for _, key := range known {
		own := meanings(strings.Split(key, "-"))
		if opposed(given, own) {
			continue
		}
		switch score := max(common(given, own), likeness(name, key)); {
		case score > bestScore:
			best, bestScore = []string{key}, score
		case score == bestScore && len(best) > 0:
			best = append(best, key)
		}
	}
	if len(best) > maxHints {
		return nil
	}
	return best
}

// words splits a key at dashes, underscores, dots and capitals.
func words(name string) []string {
	var b strings.Builder
	letters := []rune(name)
	for n, r := range letters {
		switch {
		case r == '_' || r == '.':
			r = '-'
		case unicode.IsUpper(r):
			// The D of accessID belongs to its I, and the F of IDFile does not.
			after := n > 0 && unicode.IsLower(letters[n-1])
			before := n > 0 && unicode.IsUpper(letters[n-1]) && n+1 < len(letters) && unicode.IsLower(letters[n+1])
			if after || before {
				b.WriteByte('-')
			}
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return slices.DeleteFunc(strings.Split(b.String(), "-"), func(w string) bool { return w == "" || w == "gatepass" })
}

// synonyms are words for words of our keys.
var synonyms = map[string]string{ //nolint:gochecknoglobals // never changed
	"mem": "memory", "ram": "memory", "disk": "storage",
	"request": fieldRequests, "req": fieldRequests, "min": fieldRequests, "limit": fieldLimits, "lim": fieldLimits, "max": fieldLimits,
	"ttl": "expiration", "expiry": "expiration", "expires": "expiration", "lifetime": "expiration", "life": "expiration",
	"second": "seconds", "sec": "seconds", "secs": "seconds",
	"uid": "user", "gid": "group", "aud": "audience", "img": "image", "cfg": "config", "ns": "namespace",
	"container": "containers", "dir": "path", "directory": "path", "folder": "path", "volume": "mount",
	"skip": "exclude", "ignore": "exclude", "except": "exclude", "excluded": "exclude", "omit": "exclude", "without": "exclude", "no": "exclude", "not": "exclude",
	"disable": "exclude", "disabled": "exclude",
	"shutdown": "exit", "stop": "exit", "termination": "exit", "perm": "mode", "perms": "mode", "permission": "mode", "permissions": "mode",
	"verbosity": "level", "deadline": "timeout", "enable": "inject", "enabled": "inject", "injection": "inject", "injected": "inject",
}

func meanings(words []string) []string {
	out := make([]string, len(words))
	for n, w := range words {
		out[n] = w
		if s := synonyms[w]; s != "" {
			out[n] = s
		}
	}
	return out
}

// opposites are words that rule each other out. "" stands for none of the
// others: what excludes is not what includes.
var opposites = [][]string{ //nolint:gochecknoglobals // never changed
	{fieldRequests, fieldLimits}, {"cpu", "memory", "storage", "ephemeral"}, {"user", "group"}, {"exclude", ""},
}

func opposed(a, b []string) bool {
	for _, group := range opposites {
		x, y := within(group, a), within(group, b)
		if strings.Join(group, "") == "exclude" && x != y {
			return true
		}
		if x != "" && y != "" && x != y {
			return true
		}
	}
	return false
}

// within returns the group's word that the words have, if any.
func within(group, words []string) string {
	for _, w := range words {
		switch {
		case w == "ephemeral" && slices.Contains(group, w):
			return "storage"
		case slices.Contains(group, w):
			return w
		}
	}
	return ""
}

// weight is how much a word tells: agent stands in a third of our keys.
func weight(word string) float64 {
	switch word {
	case "as", "on", "run":
		return 0.25
	case "agent", "seconds":
		return 0.5
	}
	return 1
}

// common is the share of weight that two lists of words have in common, 0 to
// 1 (Dice's coefficient). A prefix and a misspelt word count for less.
func common(a, b []string) float64 {
	sum := 0.0
	for _, w := range a {
		sum += weight(w)
	}
	shared, rest := 0.0, slices.Clone(b)
	for _, w := range b {
		sum += weight(w)
	}
	for _, w := range a {
		best, place := 0.0, -1
		for n, c := range rest {
			if s := sameWord(w, c); s > best {
				best, place = s, n
			}
		}
		if place >= 0 {
			shared += best * min(weight(w), weight(rest[place]))
			rest = slices.Delete(rest, place, place+1)
		}
	}
	if sum == 0 {
		return 0
	}
	return 2 * shared / sum
}

func sameWord(a, b string) float64 {
	const leastPrefix = 3
	short := min(len(a), len(b))
	switch {
	case a == b:
		return 1
	case short >= leastPrefix && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a)):
		return 0.8
	case short > leastPrefix && distance(a, b) <= short/4:
		return 0.7
	}
	return 0
}

// likeness compares letters without dashes, 0 to 1; more than a quarter of
// differing ones is 0.
func likeness(a, b string) float64 {
	a, b = strings.Join(words(strings.ToLower(a)), ""), strings.ReplaceAll(b, "-", "")
	d := distance(a, b)
	if d > max(len(a)/4, 1) {
		return 0
	}
	return 1 - float64(d)/float64(max(len(a), len(b)))
}

// distance is the Levenshtein distance in bytes, in which two neighbours that
// changed places count once.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
