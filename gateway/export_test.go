package gateway

// RouteNames are the spellings of every command, a list for each, and MaxBodies the
// bounds of their requests, for tests that hold all commands to the same rules.
func (g *Gateway) RouteNames() (names [][]string, maxBodies []int64) {
	for _, r := range g.routes() {
		names = append(names, r.names)
		maxBodies = append(maxBodies, r.maxBody)
	}
	return names, maxBodies
}
