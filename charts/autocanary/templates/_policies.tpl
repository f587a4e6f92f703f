{{- /* Policies that are given as text, checked as far as a template can: the published schema without its
       combinations (anyOf, oneOf, not). Policies given as values are checked whole, by values.schema.json. */ -}}

{{- define "autocanary.checkPolicies" -}}
{{- $schema := .Files.Get "files/policy.schema.json" | fromJson -}}
{{- $faults := list -}}
{{- range $name, $policy := .Values.policies -}}
{{- if kindIs "string" $policy -}}
{{- $place := printf "policies.%s" $name -}}
{{- range $number, $text := regexSplit "(?m)^---(?:\\s.*)?$" $policy -1 -}}
{{- $document := fromYaml $text -}}
{{- if and (hasKey $document "Error") (not (hasKey $document "kind")) -}}
{{- $faults = append $faults (printf "%s: not a YAML mapping: %s" $place (first (splitList "\n" $document.Error))) -}}
{{- else if and $document (has (default "RolloutPolicy" $document.kind) (list "RolloutPolicy" "")) -}}
{{- $found := include "autocanary.faults" (dict "schema" $schema "definitions" $schema.definitions "value" $document "at" $place) -}}
{{- $faults = concat $faults (compact (splitList "\n" $found)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $faults -}}
{{- fail (printf "%s\n(`autocanary validate` says where in the file, and checks the rest)" (join "\n" $faults)) -}}
{{- end -}}
{{- end -}}

{{- /* One line for each fault of a value and of what is in it. */ -}}
{{- define "autocanary.faults" -}}
{{- $at := .at -}}
{{- $value := .value -}}
{{- $definitions := .definitions -}}
{{- $schema := .schema -}}
{{- with index $schema "$ref" -}}
{{- $schema = get $definitions (trimPrefix "#/definitions/" .) -}}
{{- end -}}
{{- $kinds := dict "object" "map" "array" "slice" "string" "string" "boolean" "bool" "integer" "float64" "number" "float64" "null" "invalid" -}}
{{- $words := dict "object" "a mapping" "array" "a list" "string" "a text" "boolean" "true or false" "integer" "a whole number" "number" "a number" "null" "nothing" -}}
{{- $kind := kindOf $value -}}
{{- $types := list -}}
{{- if $schema.type -}}
{{- $types = kindIs "string" $schema.type | ternary (list $schema.type) $schema.type -}}
{{- end -}}
{{- $fits := empty $types -}}
{{- $expected := list -}}
{{- range $types -}}
{{- $fits = or $fits (eq $kind (get $kinds .)) -}}
{{- $expected = append $expected (get $words .) -}}
{{- end -}}
{{- if eq $kind "invalid" -}}
{{- else if not $fits }}
{{ $at }}: expected {{ join " or " $expected }}, got {{ toJson $value }}
{{- else if and (hasKey $schema "const") (ne $value $schema.const) }}
{{ $at }}: expected {{ $schema.const }}, got {{ $value }}
{{- else if and (hasKey $schema "enum") (not (has $value $schema.enum)) }}
{{ $at }}: expected one of {{ join ", " $schema.enum }}, got {{ $value }}
{{- else if eq $kind "map" -}}
{{- range $schema.required }}{{ if not (hasKey $value .) }}
{{ $at }}: {{ . }} is missing
{{- end }}{{ end -}}
{{- range $name, $each := $value -}}
{{- $inner := dict "definitions" $definitions "value" $each "at" (printf "%s.%s" $at $name) -}}
{{- if hasKey (default dict $schema.properties) $name -}}
{{- include "autocanary.faults" (set $inner "schema" (get $schema.properties $name)) -}}
{{- else if kindIs "map" $schema.additionalProperties -}}
{{- include "autocanary.faults" (set $inner "schema" $schema.additionalProperties) -}}
{{- else if and (hasKey $schema "additionalProperties") (not $schema.additionalProperties) }}
{{ $at }}: {{ $name }} is not a field{{ with $schema.properties }}; there are {{ keys . | sortAlpha | join ", " }}{{ end }}
{{- end -}}
{{- end -}}
{{- else if eq $kind "slice" -}}
{{- if and $schema.minItems (lt (len $value) (int $schema.minItems)) }}
{{ $at }}: expected at least {{ $schema.minItems }}, got {{ len $value }}
{{- end -}}
{{- range $number, $each := $value -}}
{{- with $schema.items -}}
{{- include "autocanary.faults" (dict "definitions" $definitions "value" $each "at" (printf "%s[%d]" $at $number) "schema" .) -}}
{{- end -}}
{{- end -}}
{{- else if eq $kind "float64" -}}
{{- if or (and (hasKey $schema "minimum") (lt $value $schema.minimum)) (and (hasKey $schema "maximum") (gt $value $schema.maximum)) }}
{{ $at }}: expected a number{{ with hasKey $schema "minimum" }} from {{ $schema.minimum }}{{ end }}{{ with hasKey $schema "maximum" }} to {{ $schema.maximum }}{{ end }}, got {{ $value }}
{{- else if and (not (has "number" $types)) (has "integer" $types) (ne (floor $value) $value) }}
{{ $at }}: expected a whole number, got {{ $value }}
{{- end -}}
{{- else if and (eq $kind "string") $schema.pattern -}}
{{- if or (not (regexMatch $schema.pattern $value)) (lt (len $value) (int (default 0 $schema.minLength))) }}
{{ $at }}: {{ $value | quote }} does not fit here{{ with $schema.examples }}; expected something like {{ first . }}{{ end }}
{{- end -}}
{{- end -}}
{{- end -}}
