{{- define "autocanary.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "autocanary.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $usual := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $usual .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "autocanary.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "autocanary.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.create is false: name the account to use in serviceAccount.name" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "autocanary.selector" -}}
app.kubernetes.io/name: {{ include "autocanary.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "autocanary.labels" -}}
{{ include "autocanary.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "autocanary.image" -}}
{{- $image := .Values.image -}}
{{- with $image.registry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .Chart.AppVersion $image.tag }}{{ end -}}
{{- end -}}

{{- define "autocanary.policies" -}}
{{- if .Values.existingPoliciesConfigMap -}}
{{- .Values.existingPoliciesConfigMap -}}
{{- else if .Values.policies -}}
{{- include "autocanary.fullname" . }}-policies
{{- end -}}
{{- end -}}
