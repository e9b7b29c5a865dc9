{{- define "rlt.name" -}}
{{- if contains "rlt" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-rlt" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "rlt.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Labels of everything; the part is added by each template. */}}
{{- define "rlt.labels" -}}
app.kubernetes.io/name: rlt
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "rlt.selector" -}}
app.kubernetes.io/name: rlt
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "rlt.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "rlt.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Where a process of ours writes: its own scratch, and the folder that all share. */}}
{{- define "rlt.mounts" -}}
- {name: scratch, mountPath: /var/lib/rlt, subPath: home}
- {name: scratch, mountPath: /tmp, subPath: tmp}
- {name: memory, mountPath: /dev/shm}
- {name: state, mountPath: /var/lib/rlt/artifacts, subPath: artifacts}
- {name: state, mountPath: /var/lib/rlt/models, subPath: models}
{{- end }}

{{- define "rlt.volumes" -}}
- name: scratch
  emptyDir: {sizeLimit: {{ .Values.storage.scratch }}}
- name: memory
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.storage.sharedMemory }}}
- name: state
  persistentVolumeClaim: {claimName: {{ .Values.storage.existingClaim | default (printf "%s-state" (include "rlt.name" .)) }}}
{{- end }}

{{- define "rlt.environment" -}}
envFrom:
  - configMapRef: {name: {{ include "rlt.name" . }}}
  - secretRef: {name: {{ .Values.secret.name }}}
{{- end }}

{{/* What a class of pods needs of a node: dict of `resources` and `gpus`. */}}
{{- define "rlt.resources" -}}
{{- $found := deepCopy (.resources | default dict) }}
{{- if gt (int .gpus) 0 }}
{{- $_ := set $found "limits" (merge (dict "nvidia.com/gpu" .gpus) ($found.limits | default dict)) }}
{{- end }}
{{- toJson $found }}
{{- end }}
