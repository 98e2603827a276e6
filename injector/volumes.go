package injector

// sourcesView are the sources of volumes that can be read-only by themselves: a
// field of theirs says so, whatever the mount says.
type sourcesView struct {
	AWSElasticBlockStore  readOnlyView `json:"awsElasticBlockStore"`
	AzureDisk             readOnlyView `json:"azureDisk"`
	AzureFile             readOnlyView `json:"azureFile"`
	CephFS                readOnlyView `json:"cephfs"`
	Cinder                readOnlyView `json:"cinder"`
	CSI                   readOnlyView `json:"csi"`
	FC                    readOnlyView `json:"fc"`
	FlexVolume            readOnlyView `json:"flexVolume"`
	GCEPersistentDisk     readOnlyView `json:"gcePersistentDisk"`
	Glusterfs             readOnlyView `json:"glusterfs"`
	ISCSI                 readOnlyView `json:"iscsi"`
	NFS                   readOnlyView `json:"nfs"`
	PersistentVolumeClaim readOnlyView `json:"persistentVolumeClaim"`
	PortworxVolume        readOnlyView `json:"portworxVolume"`
	Quobyte               readOnlyView `json:"quobyte"`
	RBD                   readOnlyView `json:"rbd"`
	ScaleIO               readOnlyView `json:"scaleIO"`
	StorageOS             readOnlyView `json:"storageos"`
}

type readOnlyView struct {
	ReadOnly bool `json:"readOnly"`
}

func (s *sourcesView) readOnly() bool {
	for _, source := range []readOnlyView{s.AWSElasticBlockStore, s.AzureDisk, s.AzureFile, s.CephFS, s.Cinder, s.CSI, s.FC, s.FlexVolume,
		s.GCEPersistentDisk, s.Glusterfs, s.ISCSI, s.NFS, s.PersistentVolumeClaim, s.PortworxVolume, s.Quobyte, s.RBD, s.ScaleIO, s.StorageOS} {
		if source.ReadOnly {
			return true
		}
	}
	return false
}

// readOnly reports whether the kubelet mounts the volume read-only whatever
// its mount says.
func (v *volumeView) readOnly() bool {
	return v != nil && (v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil || v.Image != nil || v.sourcesView.readOnly())
}
