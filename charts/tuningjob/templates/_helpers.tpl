{{/* The name of everything: the release's, with the chart's in it. */}}
{{- define "tuningjob.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tuningjob.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: control-plane
{{- end -}}

{{- define "tuningjob.labels" -}}
{{ include "tuningjob.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* <release>-results, as worker pods call it. */}}
{{- define "tuningjob.results" -}}
{{- printf "%s-results" (include "tuningjob.fullname" .) -}}
{{- end -}}

{{- define "tuningjob.claim" -}}
{{- default (printf "%s-data" (include "tuningjob.fullname" .)) .Values.persistence.existingClaim -}}
{{- end -}}

{{- define "tuningjob.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Environment of both containers: tuningjob_operator.settings reads it. */}}
{{- define "tuningjob.env" -}}
- name: TUNINGJOB_DATA_DIR
  value: /data
{{- if .Values.databaseUrl }}
- name: TUNINGJOB_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ include "tuningjob.fullname" . }}-database
      key: url
{{- end }}
{{- end -}}

{{/*
What the operator does in a namespace with TuningJobs, and no more: tuningjob_operator.cluster.REQUIRED_ACCESS, verb by
verb (tests/chart holds the two together). One set of rules, rendered as a ClusterRole or as a Role in each namespace.
*/}}
{{- define "tuningjob.rules" -}}
- apiGroups: [tuningjob.dev]
  resources: [tuningjobs]
  verbs: [list, watch]
- apiGroups: [tuningjob.dev]
  resources: [tuningjobs/status]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, get, create, patch]
# to say why a Job failed; pods are made and deleted by the Job controller alone
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
# tokens are written and never read
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}
