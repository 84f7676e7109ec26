{{/*
What the operator does in the namespaces it serves. Every write is a patch: of finalizers and its own annotation on the
object, of status by server-side apply. Owner references are set without blockOwnerDeletion, so the subresource
`finalizers` is not needed.
*/}}
{{- define "operator.servedRules" -}}
- apiGroups: [chuser.dev]
  resources: [clickhouseusers, clickhouseinstances]
  verbs: [get, list, watch, patch]
- apiGroups: [chuser.dev]
  resources: [clickhouseusers/status, clickhouseinstances/status]
  verbs: [patch]
# Only metadata is listed and watched, and only referenced Secrets are read; RBAC can express neither: list and watch
# allow to read every Secret here.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
{{- if .Values.config.connectionSecrets }}
# Connection Secrets; RBAC cannot say that other Secrets are left alone.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, patch, delete]
{{- end }}
{{ include "operator.eventRules" . }}
{{- end }}

{{- define "operator.eventRules" -}}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/*
What serving ClusterClickHouseInstance needs. Of namespaces only metadata is listed and watched, because
allowedNamespaces selects them by label.
*/}}
{{- define "operator.clusterInstanceRules" -}}
- apiGroups: [chuser.dev]
  resources: [clusterclickhouseinstances]
  verbs: [get, list, watch, patch]
- apiGroups: [chuser.dev]
  resources: [clusterclickhouseinstances/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- end }}

{{/*
What the operator does in its own namespace: elect a leader, keep its key and write Events of orphans. RBAC cannot bind
`create` to a name.
*/}}
{{- define "operator.ownNamespaceRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [clickhouse-user-operator]
  verbs: [get, update]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
# The operator's key is created once, never changed, and written back where somebody deletes it.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [clickhouse-user-operator-key]
  verbs: [get, list, watch]
{{- if .Values.watchNamespaces }}
{{- if .Values.config.clusterInstances }}
# Credentials of ClusterClickHouseInstance.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
{{- end }}
{{ include "operator.eventRules" . }}
{{- end }}
{{- end }}

{{/* The subject of every binding. */}}
{{- define "operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "operator.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* A Role and its binding in one namespace: (dict "root" $ "name" … "namespace" … "rules" …). */}}
{{- define "operator.boundRole" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "operator.labels" .root | nindent 4 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "operator.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  {{- include "operator.subjects" .root | nindent 2 }}
{{- end }}
