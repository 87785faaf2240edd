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

{{/* The Secret with the database's URL; empty: SQLite. */}}
{{- define "tuningjob.databaseSecret" -}}
{{- if and .Values.databaseUrl .Values.databaseSecret }}
{{- fail "databaseUrl and databaseSecret: must be one of the two, but got both" }}
{{- end }}
{{- if .Values.databaseUrl }}{{ include "tuningjob.fullname" . }}-database{{ else }}{{ .Values.databaseSecret }}{{ end }}
{{- end -}}

{{/* Environment of both containers: tuningjob_operator.settings reads it. */}}
{{- define "tuningjob.env" -}}
- name: TUNINGJOB_DATA_DIR
  value: /data
{{- with include "tuningjob.databaseSecret" . }}
- name: TUNINGJOB_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: url
{{- end }}
{{- with include "tuningjob.artifactsUrl" . }}
- name: TUNINGJOB_ARTIFACTS_URL
  value: {{ . | quote }}
{{- end }}
{{- if .Values.tls.secretName }}
- name: TUNINGJOB_TLS_DIR
  value: /var/run/secrets/tls
{{- end }}
{{- end -}}

{{/* Where files are kept; empty: on the journal's volume. */}}
{{- define "tuningjob.artifactsUrl" -}}
{{- if and .Values.artifacts.url .Values.artifacts.existingClaim }}
{{- fail "artifacts.url and artifacts.existingClaim: must be one of the two, but got both" }}
{{- end }}
{{- if .Values.artifacts.existingClaim }}file:///artifacts{{ else }}{{ .Values.artifacts.url }}{{ end }}
{{- end -}}

{{/* The bucket's credentials, for both containers. */}}
{{- define "tuningjob.envFrom" -}}
{{- with .Values.artifacts.credentialsSecret -}}
envFrom:
  - secretRef:
      name: {{ . }}
{{- end }}
{{- end -}}

{{/* What both containers mount. */}}
{{- define "tuningjob.volumeMounts" -}}
- {name: data, mountPath: /data}
{{- if .Values.artifacts.existingClaim }}
- {name: files, mountPath: /artifacts}
{{- end }}
{{- if .Values.artifacts.credentialsSecret }}
- {name: artifacts, mountPath: /var/run/secrets/artifacts, readOnly: true}
{{- end }}
{{- end -}}

{{- define "tuningjob.scheme" -}}
{{ if .Values.tls.secretName }}https{{ else }}http{{ end }}
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

{{/* Of an admission policy's binding: only where this release runs TuningJobs. */}}
{{- define "tuningjob.watched" -}}
{{- with .Values.watchNamespaces -}}
matchResources:
  namespaceSelector:
    matchExpressions:
      - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}
{{- end }}
{{- end -}}
