{{- define "sortie-delegate.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "sortie-delegate.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sortie-delegate.labels" -}}
{{ include "sortie-delegate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.extraLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sortie-delegate.serviceAccount" -}}
{{ default (include "sortie-delegate.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{- define "sortie-delegate.identitySecret" -}}
{{ include "sortie-delegate.fullname" . }}-identity
{{- end }}

{{- define "sortie-delegate.image" -}}
{{ include "sortie-delegate.reference" (list $ .Values.image) }}
{{- end }}

{{- define "sortie-delegate.runnerImage" -}}
{{ include "sortie-delegate.reference" (list $ .Values.runner.image) }}
{{- end }}

{{- define "sortie-delegate.reference" -}}
{{- $chart := index . 0 }}
{{- with index . 1 }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $chart.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{- define "sortie-delegate.subjects" -}}
- kind: ServiceAccount
  name: {{ include "sortie-delegate.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
