package store_test

import (
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gatepass/gatepass/gateway/store"
	"github.com/gatepass/gatepass/gateway/store/etcd"
	"github.com/gatepass/gatepass/gateway/store/storetest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	storetest.Run(t, func(t *testing.T) store.Store { return s.open(t, etcd.Options{}) })
}

func TestContractOfCompaction(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	client := s.client(t)
	open := func(t *testing.T) store.Store { return s.open(t, etcd.Options{}) }
	storetest.RunCompaction(t, open, func(t *testing.T, _ store.Store, revision int64) {
		if _, err := client.Compact(t.Context(), revision, clientv3.WithCompactPhysical()); err != nil {
			t.Fatal(err)
		}
	})
}
