package injector_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/gatepass/gatepass/injector"
)

// podOf returns an annotated pod with n containers of the kind that a
// Deployment makes; with two of them it has 3.6 KB, as the API server sends it.
func podOf(n int) []byte {
	var containers []any
	for c := range n {
		var env []any
		for e := range 8 {
			env = append(env, map[string]any{"name": fmt.Sprintf("SETTING_%d", e), "value": "some value of the application"})
		}
		containers = append(containers, map[string]any{
			"name": fmt.Sprintf("app-%d", c), "image": "registry.example.com/team/application:v1.2.3",
			"args":  []string{"--listen=:8080", "--upstream=backend.example.svc:9000", "--verbose"},
			"ports": []any{map[string]any{"name": "http", "containerPort": 8080, "protocol": "TCP"}},
			"env":   env,
			"resources": map[string]any{"requests": map[string]any{"cpu": "100m", "memory": "128Mi"},
				"limits": map[string]any{"cpu": "1", "memory": "256Mi"}},
			"volumeMounts": []any{
				map[string]any{"name": "config", "mountPath": "/etc/app", "readOnly": true},
				map[string]any{"name": "kube-api-access-x7k2p", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}},
			"livenessProbe":          map[string]any{"httpGet": map[string]any{"path": "/healthz", "port": "http", "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3},
			"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent",
			"securityContext": map[string]any{"allowPrivilegeEscalation": false, "runAsNonRoot": true, "runAsUser": 1000, "capabilities": map[string]any{"drop": []string{"ALL"}}},
		})
	}
	raw, err := json.Marshal(map[string]any{
		"kind": "Pod", "apiVersion": "v1",
		"metadata": map[string]any{"generateName": "application-5d4f8c7b9-", "namespace": "team-a", "creationTimestamp": nil,
			"labels":      map[string]any{"app": "application", "pod-template-hash": "5d4f8c7b9"},
			"annotations": map[string]any{"gatepass.dev/inject": "true", "prometheus.io/scrape": "true"},
			"ownerReferences": []any{map[string]any{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "application-5d4f8c7b9",
				"uid": "0b5c4b0e-6d0f-4a57-a4e5-7c6d5a6cf4ad", "controller": true, "blockOwnerDeletion": true}}},
		"spec": map[string]any{"containers": containers,
			"volumes": []any{
				map[string]any{"name": "config", "configMap": map[string]any{"name": "application", "defaultMode": 420}},
				map[string]any{"name": "kube-api-access-x7k2p", "projected": map[string]any{"defaultMode": 420, "sources": []any{
					map[string]any{"serviceAccountToken": map[string]any{"expirationSeconds": 3607, "path": "token"}},
					map[string]any{"configMap": map[string]any{"name": "kube-root-ca.crt", "items": []any{map[string]any{"key": "ca.crt", "path": "ca.crt"}}}}}}}},
			"restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "serviceAccountName": "application",
			"securityContext": map[string]any{}, "schedulerName": "default-scheduler", "enableServiceLinks": true, "priority": 0,
			"tolerations": []any{map[string]any{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}}},
		"status": map[string]any{},
	})
	if err != nil {
		panic(err)
	}
	return raw
}

// BenchmarkDecide backs the claims "under 40 µs for a two-container pod" and
// "a flat number of allocations per container".
func BenchmarkDecide(b *testing.B) {
	i := injector.New(profiles(b))
	for _, n := range []int{1, 2, 4, 8, 16} {
		raw := podOf(n)
		b.Run(fmt.Sprintf("containers=%d/bytes=%d", n, len(raw)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := i.Decide(raw); d.Result != injector.Injected {
					b.Fatal(d.Message())
				}
			}
		})
	}
}
