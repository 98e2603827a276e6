package injector

// nearest returns the candidate that v was probably meant to be, or "".
// Up to a third of the letters may differ.
func nearest(v string, candidates []string) string {
	// Neither is a key of ours longer than 64 bytes nor a container's name, and
	// nobody looks for a mistake among more than 100; comparing would only cost.
	if len(v) > 64 || len(candidates) > 100 {
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

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
