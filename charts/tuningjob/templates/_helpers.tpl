{{/* The name of everything: the release's, with the chart's in it. */}}
{{- define "tuningjob.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
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
{{- with omit .Values.commonLabels "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "tuningjob.serviceAccount" -}}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) }}
{{- fail "serviceAccount.name: must be the name of the account that is there, because serviceAccount.create is false, but got none" }}
{{- end }}
{{- default (include "tuningjob.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/* The reference of an image from {image, digest}. */}}
{{- define "tuningjob.image" -}}
{{- if and .digest (contains "@" .image) }}
{{- fail (printf "images: must have one digest of an image, but got two for %s" .image) }}
{{- end }}
{{- .image }}{{ with .digest }}@{{ . }}{{ end -}}
{{- end -}}

{{- define "tuningjob.operatorImage" -}}
{{ include "tuningjob.image" (dict "image" .Values.images.operator "digest" .Values.images.operatorDigest) }}
{{- end -}}

{{/* Of the pod that `helm test` runs: the control plane's Service and policy must not select it. */}}
{{- define "tuningjob.testLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* <release>-results, as worker pods call it. */}}
{{- define "tuningjob.results" -}}
{{- printf "%s-results" (include "tuningjob.fullname" .) -}}
{{- end -}}

{{- define "tuningjob.resultsUrl" -}}
{{ include "tuningjob.scheme" . }}://{{ include "tuningjob.results" . }}.{{ .Release.Namespace }}.svc:8080
{{- end -}}

{{- define "tuningjob.claim" -}}
{{- default (printf "%s-data" (include "tuningjob.fullname" .)) .Values.persistence.existingClaim -}}
{{- end -}}

{{/* More than one replica: nothing of it is on a volume that one node holds. */}}
{{- define "tuningjob.isShared" -}}
{{- if gt (int .Values.replicas) 1 }}
{{- if not (include "tuningjob.databaseSecret" .) }}
{{- fail "replicas: must be 1 with SQLite, whose file has one home, but got more. Set databaseUrl or databaseSecret" }}
{{- end }}
{{- if not (include "tuningjob.artifactsUrl" .) }}
{{- fail "replicas: must be 1 while files are on the operator's volume, but got more. Set artifacts.url, or artifacts.existingClaim to a claim that several nodes can mount" }}
{{- end }}true
{{- end }}
{{- end -}}

{{/* A null user or group is left to the platform, as OpenShift wants it. */}}
{{- define "tuningjob.podSecurityContext" -}}
runAsNonRoot: true
{{- range $field := list "runAsUser" "runAsGroup" "fsGroup" }}
{{- with get $.Values.securityContext $field }}
{{ $field }}: {{ int64 . }}
{{- end }}
{{- end }}
# a volume of many models is not walked through at every start
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
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

{{/* The Secret with the key that tokens of searches are signed with. */}}
{{- define "tuningjob.signingKeySecret" -}}
{{- default (printf "%s-signing-key" (include "tuningjob.fullname" .)) .Values.signingKey.existingSecret -}}
{{- end -}}

{{/* Environment of both containers: tuningjob_operator.settings reads it. */}}
{{- define "tuningjob.env" -}}
- name: TUNINGJOB_DATA_DIR
  value: /data
- name: TUNINGJOB_SIGNING_KEY_DIR
  value: /var/run/secrets/signing-key
- name: TUNINGJOB_LOG_LEVEL
  value: {{ .Values.logging.level }}
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
{{- if include "tuningjob.tls" . }}
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
- {name: signing-key, mountPath: /var/run/secrets/signing-key, readOnly: true}
{{- if .Values.artifacts.existingClaim }}
- {name: files, mountPath: /artifacts}
{{- end }}
{{- if .Values.artifacts.credentialsSecret }}
- {name: artifacts, mountPath: /var/run/secrets/artifacts, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Whose the results service's certificate is: own (it makes one itself), issuer (cert-manager's), secret (yours); empty: plain HTTP. */}}
{{- define "tuningjob.tls" -}}
{{- with .Values.tls }}
{{- if and .secretName .issuerRef }}
{{- fail "tls.secretName and tls.issuerRef: must be one of the two, but got both" }}
{{- end }}
{{- if .enabled }}
{{- if .secretName }}secret{{ else if .issuerRef }}issuer{{ else }}own{{ end }}
{{- else if or .secretName .issuerRef }}
{{- fail "tls.enabled: must be true with tls.secretName or tls.issuerRef, but got false" }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "tuningjob.scheme" -}}
{{ if include "tuningjob.tls" . }}https{{ else }}http{{ end }}
{{- end -}}

{{/* The chart's own authority: a Secret with its key, and a ConfigMap that everybody may read. */}}
{{- define "tuningjob.authority" -}}
{{ include "tuningjob.fullname" . }}-ca
{{- end -}}

{{/* The Secret that the results service has its certificate from. */}}
{{- define "tuningjob.tlsSecret" -}}
{{- $kind := include "tuningjob.tls" . }}
{{- if eq $kind "own" }}{{ include "tuningjob.authority" . }}{{ else if eq $kind "issuer" }}{{ include "tuningjob.fullname" . }}-tls{{ else }}{{ .Values.tls.secretName }}{{ end }}
{{- end -}}

{{/* Whom to trust as the results service, as a volume: without a key. */}}
{{- define "tuningjob.caVolume" -}}
name: tls-ca
{{- if eq (include "tuningjob.tls" .) "own" }}
configMap: {name: {{ include "tuningjob.authority" . }}, items: [{key: ca.crt, path: ca.crt}]}
{{- else }}
secret: {secretName: {{ include "tuningjob.tlsSecret" . }}, defaultMode: 0440, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- end -}}

{{/* The account that reviews tokens of an audience of our own; empty: such tokens are not taken. */}}
{{- define "tuningjob.reviewer" -}}
{{- if .Values.people.audience }}{{ include "tuningjob.fullname" . }}-reviewer
{{- else if not .Values.people.clusterTokens }}
{{- fail "people.clusterTokens: must be true without people.audience, because no other tokens are left, but got false" }}
{{- end }}
{{- end -}}

{{/* By what names the results service is called; those of this machine are for kubectl port-forward. */}}
{{- define "tuningjob.tlsNames" -}}
{{- $name := include "tuningjob.results" . }}
{{- $inside := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) }}
{{- concat $inside (list "localhost") .Values.tls.names | toJson }}
{{- end -}}

{{/*
What the operator does in a namespace with TuningJobs, and no more: tuningjob_operator.cluster.contract.REQUIRED_ACCESS, verb by
verb (tests/chart holds the two together). One set of rules, rendered as a ClusterRole or as a Role in each namespace.
*/}}
{{- define "tuningjob.rules" -}}
# deleted when ttlSecondsAfterFinished is over
- apiGroups: [tuningjob.dev]
  resources: [tuningjobs]
  verbs: [list, watch, delete]
- apiGroups: [tuningjob.dev]
  resources: [tuningjobs/status]
  verbs: [update]
# deleted when a search is cancelled, is over its deadline, or needs pods with more memory
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, get, create, patch, delete]
# to say why a Job failed; pods are made and deleted by the Job controller alone
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
# to plan no pods that the namespace would not admit, and to say why
- apiGroups: [""]
  resources: [resourcequotas, limitranges]
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

{{/* To agree with other operators on who works: tuningjob_operator.control.lease. */}}
{{- define "tuningjob.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [tuningjob-operator, {{ include "tuningjob.fullname" . }}]
  verbs: [get, update]
{{- end -}}

{{/* Whether pods are held against nodes, which only a ClusterRole may look at. */}}
{{- define "tuningjob.checksNodes" -}}
{{- and .Values.limits.checkNodes (not .Values.watchNamespaces) -}}
{{- end -}}

{{/* A ceiling as its author wrote it; a number in a values file is a float by now. */}}
{{- define "tuningjob.ceiling" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ int64 . }}{{ end -}}
{{- end -}}

{{/*
Whether the cluster has ValidatingAdmissionPolicies. Without a cluster to ask (helm template, where no kind is known), what every
Kubernetes that this chart admits has, unless it was turned off.
*/}}
{{- define "tuningjob.hasPolicies" -}}
{{- $isOffline := not (.Capabilities.APIVersions.Has "apps/v1/Deployment") -}}
{{- if or $isOffline (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy") }}true{{ end -}}
{{- end -}}

{{/* Whether the API server holds the authors of references to their rights. */}}
{{- define "tuningjob.checksReferences" -}}
{{- if and .Values.references.check (include "tuningjob.hasPolicies" .) }}
{{- if .Values.references.trustAuthors }}
{{- fail "references.trustAuthors: must be false while references.check is true, but got true. Set references.check to false as well to let everybody who may create TuningJobs name any Secret, claim and service account of the namespace" }}
{{- end }}true
{{- end }}
{{- end -}}

{{/* Whether the API server holds the operator's own account to what it is for. */}}
{{- define "tuningjob.confinesOperator" -}}
{{- if and .Values.confineOperator.enabled (include "tuningjob.hasPolicies" .) }}true{{ end -}}
{{- end -}}

{{/* Whether who created a TuningJob is the API server's word. */}}
{{- define "tuningjob.recordsCreators" -}}
{{- if and .Values.createdBy.enabled (include "tuningjob.hasPolicies" .) }}true{{ end -}}
{{- end -}}

{{/* allow: somebody sees to it that authors name only what they could use in a pod anyway, or need not. */}}
{{- define "tuningjob.references" -}}
{{- if or (include "tuningjob.checksReferences" .) .Values.references.trustAuthors }}allow{{ else }}refuse{{ end -}}
{{- end -}}

{{/* The namespaces whose worker pods a NetworkPolicy of ours selects, as JSON. */}}
{{- define "tuningjob.workerNamespaces" -}}
{{- $watched := .Values.watchNamespaces -}}
{{- range .Values.networkPolicy.workers.namespaces }}
{{- if and $watched (not (has . $watched)) }}
{{- fail (printf "networkPolicy.workers.namespaces: must be of watchNamespaces (%s), where worker pods are, but got %s" (join ", " $watched) .) }}
{{- end }}
{{- end }}
{{- default $watched .Values.networkPolicy.workers.namespaces | toJson -}}
{{- end -}}

{{/* Of worker pods, wherever they are: what the operator's job.py labels them with. */}}
{{- define "tuningjob.workerLabels" -}}
app.kubernetes.io/name: tuningjob
app.kubernetes.io/component: worker
app.kubernetes.io/managed-by: tuningjob
{{- end -}}

{{/* An egress rule from {to: peers, ports: numbers}; no peers: any address. */}}
{{- define "tuningjob.destination" -}}
- ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ int . }}}
    {{- end }}
  {{- with .to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/*
The ports of the servers that databaseUrl names, as JSON; of a server without one, and of a Secret, networkPolicy.database.ports. The ways
to name several (libpq's, and SQLAlchemy's): host one:5432,two:5433 in the place of the one; ?host=one:5432&host=two:5433;
?host=one,two&port=5432,5433. A host that begins with a slash is a socket's folder.
*/}}
{{- define "tuningjob.databasePorts" -}}
{{- $named := regexReplaceAll "^[^/]*//([^/@]*@)?" .Values.databaseUrl "" }}
{{- $hosts := list }}
{{- range splitList "," (regexFind "^[^/?]*" $named) }}{{ $hosts = append $hosts . }}{{ end }}
{{- $ports := list }}
{{- range splitList "&" (regexReplaceAll "^[^?]*[?]?" $named "") }}
{{- $value := regexReplaceAll "^[^=]*=" . "" | replace "%3A" ":" | replace "%2C" "," | replace "%2F" "/" }}
{{- if hasPrefix "host=" . }}
{{- range splitList "," $value }}{{ $hosts = append $hosts . }}{{ end }}
{{- else if hasPrefix "port=" . }}
{{- range splitList "," $value }}{{ with . }}{{ $ports = append $ports (int .) }}{{ end }}{{ end }}
{{- end }}
{{- end }}
{{- $others := empty $ports | ternary .Values.networkPolicy.database.ports $ports }}
{{- range without $hosts "" }}
{{- if not (hasPrefix "/" .) }}
{{- $port := regexFind ":[0-9]+$" . | trimPrefix ":" }}
{{- if $port }}{{ $ports = append $ports (int $port) }}{{ else }}{{ $ports = concat $ports $others }}{{ end }}
{{- end }}
{{- end }}
{{- $numbers := list }}
{{- range empty $ports | ternary $others $ports }}{{ $numbers = append $numbers (int .) }}{{ end }}
{{- $numbers | uniq | toJson }}
{{- end -}}

{{/* DNS, which is asked by UDP first. */}}
{{- define "tuningjob.dns" -}}
- ports:
    {{- range .Values.networkPolicy.dns.ports }}
    - {protocol: UDP, port: {{ int . }}}
    - {protocol: TCP, port: {{ int . }}}
    {{- end }}
  {{- with .Values.networkPolicy.dns.to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
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
