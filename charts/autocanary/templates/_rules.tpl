{{- /* The rights in autocanary/kube/rights.py; a test compares the two. */ -}}

{{- define "autocanary.rules.watched" -}}
- apiGroups: [serving.kserve.io]
  resources: [inferenceservices]
  verbs: [get, list, watch, patch]
- apiGroups: [autocanary.dev]
  resources: [canaryrollouts]
  verbs: [get, list, watch, create, delete]
- apiGroups: [autocanary.dev]
  resources: [canaryrollouts/status]
  verbs: [update]
- apiGroups: [autocanary.dev]
  resources: [rolloutpolicies]
  verbs: [list, watch]
- apiGroups: [autocanary.dev]
  resources: [rolloutpolicies/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

{{- define "autocanary.rules.home" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, update]
{{- end -}}
