{{- /* A value as text for cilium-config: lists separated by blanks, whole numbers without an exponent. */ -}}
{{- define "axoneme.text" -}}
{{- if kindIs "slice" . -}}
{{- $words := list -}}
{{- range . -}}{{- $words = append $words (include "axoneme.text" .) -}}{{- end -}}
{{- join " " $words -}}
{{- else if kindIs "float64" . -}}
{{- if eq . (floor .) -}}{{- int64 . -}}{{- else -}}{{- . -}}{{- end -}}
{{- else if not (kindIs "invalid" .) -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{- /* dict "top" "image" (override, repository, tag, digest): the reference; what is empty comes from .Values.image. */ -}}
{{- define "axoneme.image" -}}
{{- $image := .image -}}
{{- if $image.override -}}
{{- $image.override -}}
{{- else -}}
{{- $agent := .top.Values.image -}}
{{- $repository := default $agent.repository $image.repository -}}
{{- $tag := default (default .top.Chart.AppVersion $agent.tag) $image.tag -}}
{{- $digest := $image.digest -}}
{{- if and (not $digest) (not $image.repository) -}}{{- $digest = $agent.digest -}}{{- end -}}
{{- printf "%s:%s" $repository (toString $tag) -}}
{{- if $digest -}}@{{- $digest -}}{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Lines of labels: dict "top" "part" (name of the part), commonLabels included. */ -}}
{{- define "axoneme.labels" -}}
app.kubernetes.io/part-of: cilium
app.kubernetes.io/name: {{ .part }}
{{- with .top.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Address and port of the API server as [host, port], or []. */ -}}
{{- define "axoneme.apiServer" -}}
{{- $host := toString (default "" .Values.k8sServiceHost) -}}
{{- $port := include "axoneme.text" (default "" .Values.k8sServicePort) -}}
{{- if eq $host "auto" -}}
{{- $info := lookup "v1" "ConfigMap" "kube-public" "cluster-info" -}}
{{- if not $info -}}
{{- fail "k8sServiceHost=auto: there is no ConfigMap kube-public/cluster-info to read it from; set k8sServiceHost and k8sServicePort" -}}
{{- end -}}
{{- $url := urlParse (first ((get $info.data "kubeconfig" | fromYaml).clusters)).cluster.server -}}
{{- $parts := regexFind "^(.*):([0-9]+)$" $url.host -}}
{{- $host = ternary (regexReplaceAll ":[0-9]+$" $url.host "") $url.host (ne $parts "") -}}
{{- $port = ternary (regexFind "[0-9]+$" $url.host) "443" (ne $parts "") -}}
{{- $host = trimAll "[]" $host -}}
{{- end -}}
{{- if $host -}}{{- list $host (default "443" $port) | toJson -}}{{- else -}}[]{{- end -}}
{{- end -}}

{{- /* Environment of both programs. */ -}}
{{- define "axoneme.environment" -}}
- name: K8S_NODE_NAME
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: spec.nodeName
- name: CILIUM_K8S_NAMESPACE
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: metadata.namespace
{{- with include "axoneme.apiServer" . | fromJsonArray }}
- name: KUBERNETES_SERVICE_HOST
  value: {{ index . 0 | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ index . 1 | quote }}
{{- end }}
{{- end -}}

{{- /* What an agent's container may do; of .Values. */ -}}
{{- define "axoneme.agentRights" -}}
{{- $v := . -}}
privileged: {{ $v.securityContext.privileged }}
{{- if not $v.securityContext.privileged }}
seLinuxOptions:
  {{- toYaml $v.securityContext.seLinuxOptions | nindent 2 }}
capabilities:
  add:
    {{- toYaml $v.securityContext.capabilities.ciliumAgent | nindent 4 }}
  drop: [ALL]
{{- end }}
{{- end -}}

{{- /* What it sees of the node; of .Values. */ -}}
{{- define "axoneme.agentMounts" -}}
{{- $v := . -}}
- name: bpf-maps
  mountPath: {{ $v.bpf.root }}
  mountPropagation: HostToContainer
{{- if not $v.securityContext.privileged }}
# A container's own /proc/sys cannot be written.
- name: host-proc-sys-net
  mountPath: /host/proc/sys/net
- name: host-proc-sys-kernel
  mountPath: /host/proc/sys/kernel
{{- end }}
- name: cilium-cgroup
  mountPath: {{ $v.cgroup.hostRoot }}
- name: cilium-run
  mountPath: /var/run/cilium
# Pods' network namespaces, as the runtime binds them.
- name: cilium-netns
  mountPath: /var/run/cilium/netns
  mountPropagation: HostToContainer
- name: etc-cni-netd
  mountPath: /host/etc/cni/net.d
- name: xtables-lock
  mountPath: /run/xtables.lock
- name: cilium-config-path
  mountPath: /tmp/cilium/config-map
  readOnly: true
{{- if $v.cni.configMap }}
- name: cni-configuration
  mountPath: /tmp/cni-configuration
  readOnly: true
{{- end }}
{{- if $v.ipMasqAgent.enabled }}
- name: ip-masq-agent
  mountPath: /etc/config
  readOnly: true
{{- end }}
{{- if $v.kubeConfigPath }}
- name: kube-config
  mountPath: {{ $v.kubeConfigPath }}
  readOnly: true
{{- end }}
{{- if and $v.hubble.enabled $v.hubble.tls.enabled }}
- name: hubble-tls
  mountPath: /var/lib/cilium/tls/hubble
  readOnly: true
{{- end }}
{{- if and $v.hubble.enabled $v.hubble.export.dynamic.enabled }}
- name: hubble-flowlog-config
  mountPath: /flowlog-config
  readOnly: true
{{- end }}
{{- with $v.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* A volume with the certificate of a Secret: dict "name" "secret" "as" (server or client); optional: the pod starts without. */ -}}
{{- define "axoneme.hubbleCerts" -}}
- name: {{ .name }}
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ .secret }}
          optional: {{ .optional }}
          items:
            - {key: tls.crt, path: {{ .as }}.crt}
            - {key: tls.key, path: {{ .as }}.key}
            - {key: ca.crt, path: {{ ternary "client-ca.crt" "hubble-server-ca.crt" (eq .as "server") }}}
{{- end -}}
