{{- /* Made by charts/generate.py from autocanary/kube/rbac.py; do not edit. */ -}}

{{- define "autocanary.rules.watched" -}}
# Follow the services; write canaryTrafficPercent, or a spec that was recorded or analysed.
- apiGroups: [serving.kserve.io]
  resources: [inferenceservices]
  verbs: [get, list, watch, patch]
# Follow the services; write canaryTrafficPercent, or a spec that was recorded or analysed.
- apiGroups: [serving.kubeflow.org]
  resources: [inferenceservices]
  verbs: [get, list, watch, patch]
# One object per attempt; the oldest of the history are deleted.
- apiGroups: [autocanary.dev]
  resources: [canaryrollouts]
  verbs: [get, list, watch, create, delete]
# Record how far an attempt has come.
- apiGroups: [autocanary.dev]
  resources: [canaryrollouts/status]
  verbs: [update]
# Read the policies.
- apiGroups: [autocanary.dev]
  resources: [rolloutpolicies]
  verbs: [list, watch]
# Report to authors whether a policy is valid.
- apiGroups: [autocanary.dev]
  resources: [rolloutpolicies/status]
  verbs: [patch]
# Show transitions where `kubectl describe` shows them.
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

{{- define "autocanary.rules.home" -}}
# One of several replicas leads.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, update]
{{- end -}}

{{- define "autocanary.rules.page.cluster" -}}
# Ask for the rights of the user that a proxy names.
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end -}}

{{- define "autocanary.rules.page.watched" -}}
# Write what that user requests on the page.
- apiGroups: [autocanary.dev]
  resources: [canaryrollouts]
  verbs: [patch]
{{- end -}}
