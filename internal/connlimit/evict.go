package connlimit

import "time"

// looks is how often a grace period is looked for connections that have outlived it.
const looks = 8

// takeSlot waits for a slot for a connection of a client. It reports false if the
// listener is closed meanwhile.
func (l *Listener) takeSlot(newcomer *client) bool {
	select {
	case l.slots <- struct{}{}:
		return true
	default:
	}
	var again <-chan time.Time
	if l.options.Grace > 0 {
		ticker := time.NewTicker(max(l.options.Grace/looks, 1))
		defer ticker.Stop()
		again = ticker.C
	}
	for {
		if l.options.Grace > 0 {
			l.makeRoom(newcomer)
		}
		select {
		case l.slots <- struct{}{}:
			return true
		case <-l.closed:
			return false
		case <-again:
		}
	}
}

// makeRoom closes a connection for one of the newcomer's, if there is one to close: one
// that has shown nothing yet, of the client that has most of them, or else one of a
// client with more connections than the newcomer's that has been idle for longest. One
// at a time is closed: its slot is free when the server has noticed.
func (l *Listener) makeRoom(newcomer *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leaving > 0 {
		return
	}
	now := time.Now()
	var victim *Conn
	for c := range l.conns {
		if !c.evicted && l.evictable(c, newcomer, now) && (victim == nil || c.before(victim)) {
			victim = c
		}
	}
	l.evict(victim)
}

// makeRoomOf closes the oldest connection of a client that has shown nothing for the
// grace period, if another of its connections waits.
func (l *Listener) makeRoomOf(of *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(of.waiting) == 0 {
		return
	}
	now := time.Now()
	var victim *Conn
	for c := range l.conns {
		mine := c.client == of && !c.evicted && !c.proven.Load() && now.Sub(c.since) >= l.options.Grace
		if mine && (victim == nil || c.before(victim)) {
			victim = c
		}
	}
	l.evict(victim)
}

// evict closes what is below the server, whose next look at the connection ends it.
// l.mu is held.
func (l *Listener) evict(c *Conn) {
	if c == nil {
		return
	}
	c.evicted = true
	l.leaving++
	l.evicted.Add(1)
	_ = c.Conn.Close()
}

// evictable reports whether a connection may be closed for one of the newcomer's. l.mu
// is held.
func (l *Listener) evictable(c *Conn, newcomer *client, now time.Time) bool {
	if !c.proven.Load() {
		return c.client.unproven > newcomer.unproven+1 || now.Sub(c.since) >= l.options.Grace
	}
	// A client may be about to use a connection that has just become idle.
	idle := c.idle.Load()
	return idle != 0 && now.UnixNano()-idle >= int64(l.options.Grace) && c.client.open > newcomer.open
}

// before reports whether a connection is to be closed rather than another. l.mu is held.
func (c *Conn) before(other *Conn) bool {
	proven, otherProven := c.proven.Load(), other.proven.Load()
	switch {
	case proven != otherProven:
		return !proven
	case proven:
		return c.idle.Load() < other.idle.Load()
	case c.client.unproven != other.client.unproven:
		return c.client.unproven > other.client.unproven
	}
	return c.since.Before(other.since)
}
