// Package v2 has the requests and answers of the V2 API, as they are written in
// JSON. The gateway reads requests of it, the CLI writes them.
//
// Names and types are those that the public SDKs of this API write and expect.
// Those SDKs differ in how they write flags and numbers, and send "" for text
// that is not set; the types Bool, BoolText, Int and Strings read all of that.
// Fields that the gateway has no use for are left out; it ignores them.
package v2

// Credentials name the session of a request. Clients write the token into one
// field or the other.
type Credentials struct {
	Token    string `json:"token,omitempty"`
	UIDToken string `json:"uid-token,omitempty"`
}

// SessionToken is the session token; empty if there is none.
func (c *Credentials) SessionToken() string {
	if c.Token != "" {
		return c.Token
	}
	return c.UIDToken
}

// Request is a request that a session makes.
type Request interface {
	SessionToken() string
}

// Nothing is the answer of commands that have nothing to tell: {}.
type Nothing struct{}

// Failure is the body of every answer that is not 200.
type Failure struct {
	Error string `json:"error"`
}
