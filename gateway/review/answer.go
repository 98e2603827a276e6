package review

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	"github.com/go-json-experiment/json"

	"github.com/gatepass/gatepass/gateway/authmethod"
)

// readAnswer reads no more than a byte beyond the bound.
func readAnswer(res *http.Response) ([]byte, error) {
	var answer bytes.Buffer
	if 0 < res.ContentLength && res.ContentLength <= maxAnswer {
		answer.Grow(int(res.ContentLength) + bytes.MinRead)
	}
	_, err := answer.ReadFrom(io.LimitReader(res.Body, maxAnswer+1))
	return answer.Bytes(), err //nolint:wrapcheck // the caller explains it
}

// read makes sense of an answer.
func (c *Client) read(res *http.Response, answer []byte, token string) (*authmethod.User, error) {
	if len(answer) > maxAnswer {
		return nil, &Failure{Reason: ReasonMalformed, Detail: fmt.Sprintf("the API server's answer has more than %d bytes", maxAnswer)}
	}
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusCreated {
		return nil, c.refused(res, message(answer), token)
	}
	var review struct {
		Kind string `json:"kind"`
		Spec struct {
			Token string `json:"token"`
		} `json:"spec"`
		Status struct {
			Authenticated bool     `json:"authenticated"`
			Audiences     []string `json:"audiences"`
			Error         string   `json:"error"`
			User          struct {
				Username string              `json:"username"`
				UID      string              `json:"uid"`
				Extra    map[string][]string `json:"extra"`
			} `json:"user"`
		} `json:"status"`
	}
	if err := json.Unmarshal(answer, &review); err != nil || review.Kind != "TokenReview" {
		return nil, &Failure{Reason: ReasonMalformed, Detail: "the API server's answer is not a TokenReview; is that address an API server's?"}
	}
	// The API server returns what it was asked with its verdict. That is looked at so
	// that nothing between here and there, a proxy or a connection that is out of step,
	// can give one token's verdict for another's.
	if asked := review.Spec.Token; asked != "" && asked != token {
		return nil, &Failure{Reason: ReasonMalformed, Detail: "the answer is about another token than was asked about; is there a proxy before the API server?"}
	}
	status := &review.Status
	// An error says that the token could not be checked (TokenReviewStatus of
	// authentication.k8s.io/v1), whatever stands beside it.
	if !status.Authenticated || status.User.Username == "" || status.Error != "" {
		return nil, rejectionFor(clean(status.Error, token))
	}
	return &authmethod.User{
		Username:  status.User.Username,
		UID:       status.User.UID,
		Extra:     status.User.Extra,
		Audiences: status.Audiences,
	}, nil
}

// message takes the text out of a Kubernetes Status, or out of whatever a
// proxy in between said. It is to be cleaned.
func message(answer []byte) string {
	var status struct {
		Message string `json:"message"`
	}
	text := string(answer)
	if json.Unmarshal(answer, &status) == nil && status.Message != "" {
		text = status.Message
	}
	return text
}
