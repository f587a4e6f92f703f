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

{{- /* The further servers, as the setting prometheus_servers has them. */ -}}
{{- define "autocanary.prometheusServers" -}}
{{- $servers := list -}}
{{- range .Values.prometheus.servers -}}
{{- $server := pick . "name" "url" "timeout" "headers" "params" "username" "namespaces" -}}
{{- $folder := printf "/etc/autocanary/prometheus-%s" .name -}}
{{- with .tokenSecret }}{{ $_ := set $server "token_file" (printf "%s-token/%s" $folder (default "token" .key)) }}{{ end -}}
{{- with .passwordSecret }}{{ $_ := set $server "password_file" (printf "%s-password/%s" $folder (default "password" .key)) }}{{ end -}}
{{- with .caConfigMap }}{{ $_ := set $server "ca_file" (printf "%s-ca/%s" $folder (default "ca.crt" .key)) }}{{ end -}}
{{- $servers = append $servers $server -}}
{{- end -}}
{{- toJson $servers -}}
{{- end -}}

{{- /* The credentials of web metrics, as the setting web_credentials has them. */ -}}
{{- define "autocanary.webCredentials" -}}
{{- $all := list -}}
{{- range .Values.webCredentials -}}
{{- $one := pick . "name" "hosts" "username" "namespaces" -}}
{{- $folder := printf "/etc/autocanary/web-%s" .name -}}
{{- with .tokenSecret }}{{ $_ := set $one "token_file" (printf "%s-token/%s" $folder (default "token" .key)) }}{{ end -}}
{{- with .passwordSecret }}{{ $_ := set $one "password_file" (printf "%s-password/%s" $folder (default "password" .key)) }}{{ end -}}
{{- $all = append $all $one -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{- /* The files that the pod reads: where each comes from, where it goes, which setting names it. A whole folder
       is mounted, never a subPath, so that a changed Secret or ConfigMap reaches the service. */ -}}
{{- define "autocanary.files" -}}
{{- $prometheus := .Values.prometheus -}}
{{- with include "autocanary.policies" . }}
- {name: policies, configMap: {{ . | quote }}, setting: POLICIES}
{{- end }}
{{- with $prometheus.tokenSecret }}{{ if .name }}
- {name: prometheus-token, secret: {{ .name | quote }}, key: {{ .key | quote }}, setting: PROMETHEUS_TOKEN_FILE}
{{- end }}{{ end }}
{{- with $prometheus.passwordSecret }}{{ if .name }}
- {name: prometheus-password, secret: {{ .name | quote }}, key: {{ .key | quote }}, setting: PROMETHEUS_PASSWORD_FILE}
{{- end }}{{ end }}
{{- with $prometheus.caConfigMap }}{{ if .name }}
- {name: prometheus-ca, configMap: {{ .name | quote }}, key: {{ .key | quote }}, setting: PROMETHEUS_CA_FILE}
{{- end }}{{ end }}
{{- range $server := $prometheus.servers }}
{{- range $what, $from := dict "token" $server.tokenSecret "password" $server.passwordSecret "ca" $server.caConfigMap }}
{{- if $from }}
- {name: {{ printf "prometheus-%s-%s" $server.name $what }}, {{ ternary "configMap" "secret" (eq $what "ca") }}: {{ $from.name | quote }}, key: {{ default (get (dict "token" "token" "password" "password" "ca" "ca.crt") $what) $from.key | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- range $credentials := .Values.webCredentials }}
{{- range $what, $from := dict "token" $credentials.tokenSecret "password" $credentials.passwordSecret }}
{{- if $from }}
- {name: {{ printf "web-%s-%s" $credentials.name $what }}, secret: {{ $from.name | quote }}, key: {{ default $what $from.key | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.slack.botTokenSecret }}{{ if .name }}
- {name: slack-bot, secret: {{ .name | quote }}, key: {{ .key | quote }}, setting: SLACK_BOT_TOKEN_FILE}
{{- end }}{{ end }}
{{- with .Values.slack.appTokenSecret }}{{ if .name }}
- {name: slack-app, secret: {{ .name | quote }}, key: {{ .key | quote }}, setting: SLACK_APP_TOKEN_FILE}
{{- end }}{{ end }}
{{- with .Values.slack.webhookSecret }}{{ if .name }}
- {name: slack-webhook, secret: {{ .name | quote }}, key: {{ .key | quote }}, setting: SLACK_WEBHOOK_URL_FILE}
{{- end }}{{ end }}
{{- with .Values.apprise.urlsSecret }}{{ if .name }}
- {name: apprise, secret: {{ .name | quote }}, key: {{ .key | quote }}, setting: APPRISE_URLS_FILE}
{{- end }}{{ end }}
{{- with .Values.configSecret }}{{ if .name }}
- {name: config, secret: {{ .name | quote }}, key: {{ .key | quote }}, setting: CONFIG}
{{- end }}{{ end }}
{{- end -}}
