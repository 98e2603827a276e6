// Package webhook serves the admission endpoint: it reads AdmissionReviews,
// asks the injector for a decision, and answers. It keeps no state beside the
// administrator's profiles, and reads nothing from the cluster.
package webhook
