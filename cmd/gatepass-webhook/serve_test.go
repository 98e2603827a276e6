package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
)

func TestTheCertificateIsFollowedUntilTheServerHasDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := false
		follow := func(ctx context.Context) error {
			<-ctx.Done()
			ended = true
			return nil
		}
		answer := func(ctx context.Context) error {
			cancel()
			<-ctx.Done()
			synctest.Wait()
			if ended {
				t.Error("the certificate is not followed while the server drains")
			}
			return nil
		}
		if err := serve(ctx, follow, answer); err != nil {
			t.Error(err)
		}
	})
}

func TestAFailureOfEitherEndsBoth(t *testing.T) {
	wait := func(ctx context.Context) error { <-ctx.Done(); return nil }
	fail := func(context.Context) error { return errors.New("broken") }
	if err := serve(t.Context(), fail, wait); err == nil || !strings.Contains(err.Error(), "serving certificate: broken") {
		t.Errorf("the certificate failed: %v", err)
	}
	if err := serve(t.Context(), wait, fail); err == nil || err.Error() != "broken" {
		t.Errorf("the server failed: %v", err)
	}
}
