{{- /* What the schema of the values cannot say: values that do not go together. */ -}}

{{- define "autocanary.checks" -}}
{{- $values := .Values -}}
{{- $prometheus := $values.prometheus -}}
{{- if not $prometheus.url }}
{{- fail "prometheus.url is required, such as http://prometheus-operated.monitoring:9090" }}
{{- end }}
{{- if and (not $values.leaderElection) (gt (int $values.replicas) 1) }}
{{- fail "leaderElection is false: then replicas must be 1, or two instances would write the same weights" }}
{{- end }}
{{- if and $values.dryRun (gt (int $values.replicas) 1) }}
{{- fail "dryRun is true: there is no leader then, so replicas must be 1, or each notification is sent twice" }}
{{- end }}
{{- if and $prometheus.tokenSecret.name $prometheus.username }}
{{- fail "prometheus.tokenSecret and prometheus.username exclude each other: give one" }}
{{- end }}
{{- if ne (empty $prometheus.username) (empty $prometheus.passwordSecret.name) }}
{{- fail "prometheus.username and prometheus.passwordSecret.name belong together: give both or neither" }}
{{- end }}
{{- if and $values.slack.botTokenSecret.name $values.slack.webhookSecret.name }}
{{- fail "slack.botTokenSecret and slack.webhookSecret exclude each other: give one" }}
{{- end }}
{{- if and (or $values.slack.channel $values.slack.mention) (not $values.slack.botTokenSecret.name) }}
{{- fail "slack.channel and slack.mention need slack.botTokenSecret: an incoming webhook posts to the channel that it was made for" }}
{{- end }}
{{- if and $values.slack.appTokenSecret.name (not $values.slack.botTokenSecret.name) }}
{{- fail "slack.appTokenSecret needs slack.botTokenSecret: the bot's messages have the buttons" }}
{{- end }}
{{- if ne (empty $values.slack.appTokenSecret.name) (empty $values.slack.approvers) }}
{{- fail "slack.appTokenSecret.name and slack.approvers belong together: give both or neither" }}
{{- end }}
{{- if and $values.slack.mention (not $values.slack.channel) }}
{{- fail "slack.mention needs slack.channel; a policy's channel has mentions of its own" }}
{{- end }}
{{- if and $values.policies $values.existingPoliciesConfigMap }}
{{- fail "policies and existingPoliciesConfigMap exclude each other: give one" }}
{{- end }}
{{- if and $values.serviceMonitor.enabled $values.podMonitor.enabled }}
{{- fail "serviceMonitor.enabled and podMonitor.enabled exclude each other: everything would be scraped twice" }}
{{- end }}
{{- if and $values.guard.enabled (not $values.guard.namespaces) (not $values.guard.objectSelector) }}
{{- fail "guard.enabled needs guard.namespaces or guard.objectSelector: a guarded service that no policy governs waits at 0 % for a user" }}
{{- end }}
{{- if and $values.guard.enabled $values.namespaces }}
{{- range $values.guard.namespaces }}
{{- if not (has . $values.namespaces) }}
{{- fail (printf "guard.namespaces has %s, which namespaces lacks: nothing rolls out what is held at 0 %% there" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (or $values.page.userHeader $values.page.groupsHeader) (not $values.page.enabled) }}
{{- fail "page.userHeader and page.groupsHeader need page.enabled" }}
{{- end }}
{{- if and $values.page.groupsHeader (not $values.page.userHeader) }}
{{- fail "page.groupsHeader needs page.userHeader: groups belong to a user" }}
{{- end }}
{{- if and $values.page.userHeader (not (and $values.networkPolicy.enabled $values.page.ingressFrom)) }}
{{- fail "page.userHeader needs networkPolicy.enabled and page.ingressFrom: a client that reaches the port can name any user, so only your proxy may" }}
{{- end }}
{{- if and $values.page.enabled (eq (int $values.page.port) (int $values.service.port)) }}
{{- fail "page.port and service.port are the same: give the page a port of its own" }}
{{- end }}
{{- include "autocanary.checkPolicies" . }}
{{- end -}}
