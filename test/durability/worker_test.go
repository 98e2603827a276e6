package durability_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"

	"github.com/gatepass/gatepass/test/folder"
)

// thing is an object as it was or should be: a secret, a role, or a session.
type thing struct {
	exists  bool
	version int
	text    string
}

// object is what one worker writes, and nobody else.
type object struct {
	name string // a secret's begins with a slash
	// known is what was acknowledged or, after a kill, found; next is what a
	// request without an answer wanted, or nil.
	known thing
	next  *thing
}

// worker changes objects, one after the other.
type worker struct {
	id      int
	count   int
	objects []*object
	// ended are revoked sessions, and ending the one whose revocation got no answer.
	ended  []string
	ending string

	acknowledged, done int // done are those without an answer that happened
	problems           []string
}

const (
	secretsOfWorker = 5
	rolesOfWorker   = 2
	sessionsChecked = 5
)

func newWorker(id int) *worker {
	w := &worker{id: id}
	for i := range secretsOfWorker {
		w.objects = append(w.objects, &object{name: fmt.Sprintf("/worker-%d/secret-%d", id, i)})
	}
	for i := range rolesOfWorker {
		w.objects = append(w.objects, &object{name: fmt.Sprintf("worker-%d-role-%d", id, i)})
	}
	return w
}

func (w *worker) problem(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf("worker %d: ", w.id)+fmt.Sprintf(format, args...))
}

// step makes one change. It returns false when the gateway is gone.
func (w *worker) step(g *folder.Gateway, session string, login []any) bool {
	w.count++
	const everyRevocation = 15
	if w.count%everyRevocation == 0 {
		return w.revoke(g, login)
	}
	o := w.objects[rand.IntN(len(w.objects))]                                                                    //nolint:gosec // any will do
	path, fields, next := o.change(fmt.Sprintf("%d.%d.%s", w.id, w.count, strings.Repeat("x", rand.IntN(2000)))) //nolint:gosec // see above
	o.next = &next
	a, err := g.Ask(path, append(fields, "token", session)...)
	switch {
	case err != nil:
		return false
	case a.Status != http.StatusOK:
		w.problem("%s of %s, which is %+v: %d %s", path, o.name, o.known, a.Status, a.Error)
		return false
	}
	o.known, o.next = next, nil
	w.acknowledged++
	return true
}

// change chooses what to do with an object.
func (o *object) change(text string) (path string, fields []any, next thing) {
	const deletions = 8 // one in so many
	secret := strings.HasPrefix(o.name, "/")
	fields = []any{"name", o.name}
	switch drop := rand.IntN(deletions) == 0; { //nolint:gosec // any will do
	case !o.known.exists && secret:
		return "/create-secret", append(fields, "value", text), thing{true, 1, text}
	case !o.known.exists:
		return "/create-role", append(fields, "description", text), thing{true, 0, text}
	case drop && secret:
		return "/delete-item", fields, thing{}
	case drop:
		return "/delete-role", fields, thing{}
	case secret:
		return "/update-secret-val", append(fields, "value", text), thing{true, o.known.version + 1, text}
	}
	return "/update-role", append(fields, "description", text), thing{true, 0, text}
}

// revoke ends a session that was just begun.
func (w *worker) revoke(g *folder.Gateway, login []any) bool {
	begun, err := g.Ask("/auth", login...)
	if err != nil || begun.Status != http.StatusOK {
		return false
	}
	w.ending = begun.Token
	a, err := g.Ask("/revoke-creds", "token", begun.Token)
	switch {
	case err != nil:
		return false
	case a.Status != http.StatusOK:
		w.problem("revoke: %d %s", a.Status, a.Error)
		return false
	}
	w.ended, w.ending = append(w.ended, w.ending), ""
	w.ended = w.ended[max(0, len(w.ended)-sessionsChecked):]
	w.acknowledged++
	return true
}

// inspect looks whether everything is as it was acknowledged, and what became of the
// request that got no answer.
func (w *worker) inspect(g *folder.Gateway, session string) error {
	for _, o := range w.objects {
		found, err := w.look(g, o, session)
		if err != nil {
			return err
		}
		switch {
		case found == o.known:
		case o.next != nil && found == *o.next:
			w.done++
		default:
			w.problem("%s is %+v; acknowledged is %+v, and %+v may have happened", o.name, found, o.known, o.next)
		}
		o.known, o.next = found, nil
	}
	for _, token := range w.ended {
		if a, err := g.Ask("/validate-token", "token", token); err != nil || a.IsValid {
			w.problem("a revoked session is valid: %v", err)
		}
	}
	if w.ending != "" { // it may be valid or not, but an answer is due
		if a, err := g.Ask("/validate-token", "token", w.ending); err != nil || a.Status != http.StatusOK {
			w.problem("validate: %d %s, %v", a.Status, a.Error, err)
		}
		w.ending = ""
	}
	return nil
}

// look reads an object.
func (w *worker) look(g *folder.Gateway, o *object, session string) (thing, error) {
	if !strings.HasPrefix(o.name, "/") {
		a, err := g.Ask("/get-role", "token", session, "name", o.name)
		if err == nil && a.Status != http.StatusOK && a.Status != http.StatusNotFound {
			err = fmt.Errorf("read %s: %d %s", o.name, a.Status, a.Error)
		}
		return thing{a.Status == http.StatusOK, 0, a.Comment}, err
	}
	described, err := g.Ask("/describe-item", "token", session, "name", o.name)
	if err != nil {
		return thing{}, err
	}
	value, err := g.Ask("/get-secret-value", "token", session, "names", []string{o.name})
	if err != nil {
		return thing{}, err
	}
	if described.Status != value.Status || value.Status != http.StatusOK && value.Status != http.StatusNotFound {
		w.problem("half of %s is there: %d %s, and its value: %d %s", o.name, described.Status, described.Error, value.Status, value.Error)
	}
	return thing{value.Status == http.StatusOK, described.Version, value.Values[o.name]}, nil
}
