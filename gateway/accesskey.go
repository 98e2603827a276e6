package gateway

import (
	"net/http"
	"time"

	"github.com/gatepass/gatepass/gateway/audit"
	"github.com/gatepass/gatepass/gateway/authmethod"
	v2 "github.com/gatepass/gatepass/gateway/v2"
)

// authenticateKey is a login by an access key. One answer covers an access id
// that does not exist, one of another type and a key that is wrong.
func (g *Gateway) authenticateKey(c *call, a *attempt, req *v2.Auth) {
	if req.AccessID == "" || req.AccessKey == "" {
		a.deny(http.StatusBadRequest, reasonKeyMissing, "", "access-id and access-key must be given")
		return
	}
	now := time.Now()
	client := clientAddress(c.Request)
	var method *authmethod.Method
	if !g.known(c, func(s State) (ok bool) {
		method, ok = s.AuthMethod(req.AccessID)
		return s.VerifyAccessKey(req.AccessID, req.AccessKey) && ok
	}) {
		if v := g.guesses.failed(client, req.AccessID, now); v.wait > 0 {
			a.end(audit.Denied, reasonGuesses, v.detail(), &refusal{http.StatusTooManyRequests, "too many failed logins; try again later", v.wait})
			a.unrecorded = !v.record
			return
		}
		a.deny(http.StatusUnauthorized, reasonKey, "", "unauthorized: the access id or the access key is wrong")
		return
	}
	a.event.AuthMethod = method.Name
	if denial := method.Admits(client, now); denial != nil {
		a.denyBy(denial)
		return
	}
	who := identified{subject: accessKeySubject + method.AccessID}
	a.event.Subject = who.subject
	g.grant(c, a, method, who)
}

// accessKeySubject and the access id are the sub of sessions by access key.
const accessKeySubject = "access-key:"
