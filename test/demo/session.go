package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/gatepass/gatepass/test/container"
)

// decode returns the claims of a JWT, indented. It does not verify: whoever
// relies on a session asks the gateway's keys.
func decode(token string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errors.New("not a JWT: it has no three parts")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", fmt.Errorf("decode the token's claims: %w", err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		return "", fmt.Errorf("decode the token's claims: %w", err)
	}
	text, err := json.MarshalIndent(claims, "", "  ")
	return string(text), err
}

// alone is what the application says if the session's volume is read-only for
// it, and the agent's projected token is not mounted.
const alone = "Can I write beside it? false. What else is in /var/run? []"

// runApplication runs the pod's container, with a program of ours for its image.
func (s *story) runApplication(ctx context.Context) error {
	program, err := s.product.BuildTestProgram(ctx, "./demo/web")
	if err != nil {
		return err
	}
	app := &s.pod.Spec.Containers[0]
	options, err := s.containerOptions(ctx, app, program)
	if err != nil {
		return err
	}
	options.Name = app.Name
	s.sayIsolation("The container %q runs with its environment and mounts, test/demo/web in place of its image", app.Name)
	result, err := s.product.RunAgent(ctx, options)
	if err != nil {
		return err
	}
	s.show(result.Logs)
	if result.ExitCode != 0 {
		return fmt.Errorf("the application ended with exit code %d", result.ExitCode)
	}
	if s.isolation != container.None && !strings.Contains(result.Logs, alone) {
		return fmt.Errorf("the application should have said: %s", alone)
	}
	return nil
}

// tokenReviews is how many the API server has served, by its own metrics.
func (s *story) tokenReviews(ctx context.Context) (int, error) {
	text, err := s.cluster.Client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the API server's metrics: %w", err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		return 0, fmt.Errorf("read the API server's metrics: %w", err)
	}
	total := 0
	for _, m := range families["apiserver_request_total"].GetMetric() {
		for _, label := range m.GetLabel() {
			if label.GetName() == "resource" && label.GetValue() == "tokenreviews" {
				total += int(m.GetCounter().GetValue())
			}
		}
	}
	return total, nil
}

// auditLine finds the login in the gateway's output.
func auditLine(log string) (string, error) {
	for line := range strings.Lines(log) {
		var event struct{ Event, Result, Subject string }
		if json.Unmarshal([]byte(line), &event) == nil && event.Result == "granted" && event.Subject != "" {
			return line, nil
		}
	}
	return "", fmt.Errorf("the gateway's audit log has no login that was granted; its output:\n%s", log)
}
