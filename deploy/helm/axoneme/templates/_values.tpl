{{- /*
Values: old names become new ones, then everything is held against the defaults and files/rules.yaml. Every template begins
with `include "axoneme.prepare" .`, which changes .Values in place and fails with all mistakes at once.
*/ -}}

{{- define "axoneme.prepare" -}}
{{- $rules := .Files.Get "files/rules.yaml" | fromYaml -}}
{{- $found := dict "mistakes" list "missing" list "ignored" list -}}
{{- include "axoneme.rename" (dict "values" .Values "rules" $rules "found" $found "known" (.Files.Get "files/defaults.json" | fromJson)) -}}
{{- include "axoneme.compare" (dict "given" .Values "known" (.Files.Get "files/defaults.json" | fromJson) "path" "" "rules" $rules "found" $found) -}}
{{- include "axoneme.choices" (dict "values" .Values "rules" $rules "found" $found) -}}
{{- include "axoneme.together" (dict "values" .Values "found" $found) -}}
{{- $wrong := $found.mistakes -}}
{{- if ne (toString .Values.unsupportedValues) "warn" -}}
{{- $wrong = concat $wrong $found.missing -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n%d of the values cannot be used:\n  %s\n" (len $wrong) (join "\n  " $wrong)) -}}
{{- end -}}
{{- end -}}

{{- /* What is told after the installation. */ -}}
{{- define "axoneme.told" -}}
{{- $rules := .Files.Get "files/rules.yaml" | fromYaml -}}
{{- $found := dict "mistakes" list "missing" list "ignored" list -}}
{{- include "axoneme.compare" (dict "given" .Values "known" (.Files.Get "files/defaults.json" | fromJson) "path" "" "rules" $rules "found" $found) -}}
{{- join "\n" (concat $found.missing $found.ignored) -}}
{{- end -}}

{{- /* Appends to a list in found: dict "found" dict "list" name "text" text. */ -}}
{{- define "axoneme.note" -}}
{{- $_ := set .found .list (append (get .found .list) .text) -}}
{{- end -}}

{{- /* The value at a path, as JSON: {"value": …}, or {} where there is none. */ -}}
{{- define "axoneme.at" -}}
{{- $node := .values -}}
{{- $there := true -}}
{{- range splitList "." .path -}}
{{- if and $there (kindIs "map" $node) -}}
{{- if hasKey $node . -}}{{- $node = index $node . -}}{{- else -}}{{- $there = false -}}{{- end -}}
{{- else -}}
{{- $there = false -}}
{{- end -}}
{{- end -}}
{{- if $there -}}{{- dict "value" $node | toJson -}}{{- else -}}{}{{- end -}}
{{- end -}}

{{- /* dict "values" "path" "value": puts a value at a path. */ -}}
{{- define "axoneme.put" -}}
{{- $node := .values -}}
{{- $parts := splitList "." .path -}}
{{- range initial $parts -}}
{{- if not (kindIs "map" (get $node .)) -}}{{- $_ := set $node . dict -}}{{- end -}}
{{- $node = get $node . -}}
{{- end -}}
{{- $_ := set $node (last $parts) .value -}}
{{- end -}}

{{- /* dict "values" "path": takes a value away, and what is empty then. */ -}}
{{- define "axoneme.drop" -}}
{{- $node := .values -}}
{{- $parts := splitList "." .path -}}
{{- range initial $parts -}}{{- $node = get $node . -}}{{- end -}}
{{- $_ := unset $node (last $parts) -}}
{{- if and (gt (len $parts) 1) (not $node) -}}
{{- include "axoneme.drop" (dict "values" .values "path" (join "." (initial $parts))) -}}
{{- end -}}
{{- end -}}

{{- define "axoneme.rename" -}}
{{- $values := .values -}}
{{- $known := .known -}}
{{- $found := .found -}}
{{- /* Cilium before 1.8 had everything below global; what else is there belongs to a chart above this one. */ -}}
{{- range $key, $value := default dict $values.global -}}
{{- if or (hasKey $known $key) (has $key (list "tunnel" "nativeRoutingCIDR" "hostServices")) -}}
{{- if and (kindIs "map" $value) (kindIs "map" (get $values $key)) -}}
{{- $_ := set $values $key (mergeOverwrite (get $values $key) $value) -}}
{{- else -}}
{{- $_ := set $values $key $value -}}
{{- end -}}
{{- $_ := unset $values.global $key -}}
{{- end -}}
{{- end -}}
{{- if hasKey $values "tunnel" -}}
{{- $tunnel := toString $values.tunnel -}}
{{- if eq $tunnel "disabled" -}}
{{- $_ := set $values "routingMode" "native" -}}
{{- else if has $tunnel (list "vxlan" "geneve") -}}
{{- $_ := set $values "routingMode" "tunnel" -}}
{{- $_ := set $values "tunnelProtocol" $tunnel -}}
{{- else -}}
{{- include "axoneme.note" (dict "found" $found "list" "mistakes" "text" (printf "tunnel=%s: accepted: vxlan, geneve, disabled; better: routingMode and tunnelProtocol" $tunnel)) -}}
{{- end -}}
{{- $_ := unset $values "tunnel" -}}
{{- end -}}
{{- $hostRouting := include "axoneme.at" (dict "values" $values "path" "bpf.hostRouting") | fromJson -}}
{{- if hasKey $hostRouting "value" -}}
{{- $_ := set $values.bpf "hostLegacyRouting" (ne (toString $hostRouting.value) "true") -}}
{{- $_ := unset $values.bpf "hostRouting" -}}
{{- end -}}
{{- range $old, $new := .rules.renamed -}}
{{- $given := include "axoneme.at" (dict "values" $values "path" $old) | fromJson -}}
{{- if hasKey $given "value" -}}
{{- $value := $given.value -}}
{{- if and (hasSuffix "List" $new) (not (kindIs "slice" $value)) -}}{{- $value = list $value -}}{{- end -}}
{{- $now := (include "axoneme.at" (dict "values" $values "path" $new) | fromJson).value -}}
{{- $usual := (include "axoneme.at" (dict "values" $known "path" $new) | fromJson).value -}}
{{- if and (ne (toJson $now) (toJson $usual)) (ne (toJson $now) (toJson $value)) -}}
{{- include "axoneme.note" (dict "found" $found "list" "mistakes" "text" (printf "%s=%v: is the old name of %s, which is %v: set one" $old $value $new $now)) -}}
{{- else -}}
{{- include "axoneme.put" (dict "values" $values "path" $new "value" $value) -}}
{{- end -}}
{{- include "axoneme.drop" (dict "values" $values "path" $old) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* What is given against what is known: an object without fields takes any, other objects only their own. */ -}}
{{- define "axoneme.compare" -}}
{{- $arguments := . -}}
{{- range $key, $value := .given -}}
{{- $path := ternary $key (printf "%s.%s" $arguments.path $key) (eq $arguments.path "") -}}
{{- if eq $path "global" -}}
{{- else if not (hasKey $arguments.known $key) -}}
{{- include "axoneme.unknown" (dict "path" $path "value" $value "rules" $arguments.rules "found" $arguments.found "siblings" $arguments.known) -}}
{{- else -}}
{{- $known := get $arguments.known $key -}}
{{- $expected := "" -}}
{{- if kindIs "invalid" $value -}}
{{- else if kindIs "map" $known -}}
{{- if not (kindIs "map" $value) -}}
{{- $expected = "an object" -}}
{{- else if $known -}}
{{- include "axoneme.compare" (dict "given" $value "known" $known "path" $path "rules" $arguments.rules "found" $arguments.found) -}}
{{- end -}}
{{- else if and (kindIs "slice" $known) (not (kindIs "slice" $value)) -}}
{{- $expected = "a list" -}}
{{- else if and (kindIs "bool" $known) (ne $key "kubeProxyReplacement") (not (has (toString $value) (list "true" "false"))) -}}
{{- $expected = "true or false" -}}
{{- else if and (kindIs "float64" $known) (not (regexMatch "^([0-9]+([.][0-9]+)?(e[+][0-9]+)?|[0-9]+%)$" (toString $value))) -}}
{{- $expected = "a number" -}}
{{- else if or (and (kindIs "string" $known) (kindIs "slice" $value)) (and (not (kindIs "map" $known)) (kindIs "map" $value)) -}}
{{- $expected = "one value" -}}
{{- end -}}
{{- if $expected -}}
{{- include "axoneme.note" (dict "found" $arguments.found "list" "mistakes" "text" (printf "%s=%v: expected %s" $path $value $expected)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* A value that is not the chart's: one of Cilium's that is missing here, or nobody's. */ -}}
{{- define "axoneme.unknown" -}}
{{- $arguments := . -}}
{{- $value := .value -}}
{{- $path := .path -}}
{{- $feature := dict -}}
{{- range $missing := .rules.missing -}}
{{- range $below := $missing.below -}}
{{- if or (eq $path $below) (hasPrefix (printf "%s." $below) $path) -}}{{- $feature = $missing -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (kindIs "map" $value) $value -}}
{{- range $key, $child := $value -}}
{{- include "axoneme.unknown" (dict "path" (printf "%s.%s" $path $key) "value" $child "rules" $arguments.rules "found" $arguments.found "siblings" $arguments.siblings) -}}
{{- end -}}
{{- else if not $feature -}}
{{- $alike := list -}}
{{- range $sibling := keys .siblings | sortAlpha -}}
{{- if hasPrefix (lower (trunc 4 (last (splitList "." $path)))) (lower $sibling) -}}{{- $alike = append $alike $sibling -}}{{- end -}}
{{- end -}}
{{- include "axoneme.note" (dict "found" .found "list" "mistakes" "text" (printf "%s: unknown%s" $path (ternary (printf "; there is %s" (join ", " $alike)) "" (gt (len $alike) 0)))) -}}
{{- else if not (hasKey $feature.only $path) -}}
{{- include "axoneme.note" (dict "found" .found "list" "ignored" "text" (printf "%s: without effect (%s)" $path $feature.feature)) -}}
{{- else if ne (toString $value) (toString (get $feature.only $path)) -}}
{{- $only := toString (get $feature.only $path) -}}
{{- include "axoneme.note" (dict "found" .found "list" "missing" "text" (printf "%s=%v: not supported yet: %s; accepted: %s" $path $value $feature.feature (ternary "nothing" $only (eq $only "")))) -}}
{{- end -}}
{{- end -}}

{{- define "axoneme.choices" -}}
{{- $values := .values -}}
{{- $found := .found -}}
{{- range $path, $choices := .rules.choices -}}
{{- $value := (include "axoneme.at" (dict "values" $values "path" $path) | fromJson).value -}}
{{- if and (not (kindIs "invalid" $value)) (ne (toString $value) "") (not (has (toString $value) $choices)) -}}
{{- include "axoneme.note" (dict "found" $found "list" "mistakes" "text" (printf "%s=%v: accepted: %s" $path $value (join ", " $choices))) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* What has to hold between values: the agent would not start. */ -}}
{{- define "axoneme.together" -}}
{{- $found := .found -}}
{{- $v := .values -}}
{{- $wrong := list -}}
{{- $native := eq (toString $v.routingMode) "native" -}}
{{- $replacement := has (toString $v.kubeProxyReplacement) (list "true" "strict") -}}
{{- $nodePort := or $replacement (eq (toString $v.kubeProxyReplacement) "probe") (eq (toString $v.nodePort.enabled) "true") -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$" (toString $v.cluster.name)) -}}
{{- $wrong = append $wrong (printf "cluster.name=%v: accepted: 1 to 32 of a-z, 0-9 and '-', beginning and ending with a letter or digit" $v.cluster.name) -}}
{{- end -}}
{{- if and (eq (toString $v.cluster.name) "default") (ne (toString $v.cluster.id) "0") -}}
{{- $wrong = append $wrong (printf "cluster.id=%v: needs a cluster.name other than default" $v.cluster.id) -}}
{{- end -}}
{{- if and $v.hubble.relay.enabled (not $v.hubble.enabled) -}}
{{- $wrong = append $wrong "hubble.relay.enabled=true: needs hubble.enabled=true" -}}
{{- end -}}
{{- if and $v.hubble.ui.enabled (not $v.hubble.relay.enabled) -}}
{{- $wrong = append $wrong "hubble.ui.enabled=true: needs hubble.relay.enabled=true" -}}
{{- end -}}
{{- if not (or $v.ipv4.enabled $v.ipv6.enabled) -}}
{{- $wrong = append $wrong "ipv4.enabled=false, ipv6.enabled=false: at least one must be true" -}}
{{- end -}}
{{- if and $v.autoDirectNodeRoutes (not $native) -}}
{{- $wrong = append $wrong "autoDirectNodeRoutes=true: needs routingMode=native" -}}
{{- end -}}
{{- if and $v.directRoutingSkipUnreachable (not $v.autoDirectNodeRoutes) -}}
{{- $wrong = append $wrong "directRoutingSkipUnreachable=true: needs autoDirectNodeRoutes=true" -}}
{{- end -}}
{{- if has (toString $v.loadBalancer.mode) (list "dsr" "hybrid") -}}
{{- if not $nodePort -}}
{{- $wrong = append $wrong (printf "loadBalancer.mode=%v: needs kubeProxyReplacement=true" $v.loadBalancer.mode) -}}
{{- end -}}
{{- if eq (toString $v.loadBalancer.dsrDispatch) "geneve" -}}
{{- if ne (toString $v.tunnelProtocol) "geneve" -}}
{{- $wrong = append $wrong (printf "loadBalancer.mode=%v with loadBalancer.dsrDispatch=geneve: needs tunnelProtocol=geneve" $v.loadBalancer.mode) -}}
{{- end -}}
{{- else if not $native -}}
{{- $wrong = append $wrong (printf "loadBalancer.mode=%v: needs routingMode=native, or loadBalancer.dsrDispatch=geneve with tunnelProtocol=geneve" $v.loadBalancer.mode) -}}
{{- end -}}
{{- end -}}
{{- if and (not (has (toString $v.loadBalancer.acceleration) (list "disabled" ""))) (not $nodePort) -}}
{{- $wrong = append $wrong (printf "loadBalancer.acceleration=%v: needs kubeProxyReplacement=true" $v.loadBalancer.acceleration) -}}
{{- end -}}
{{- if and $v.bpf.lbExternalClusterIP (not $nodePort) -}}
{{- $wrong = append $wrong "bpf.lbExternalClusterIP=true: needs kubeProxyReplacement=true" -}}
{{- end -}}
{{- range $family := list "4" "6" -}}
{{- $on := and (index $v (printf "ipv%s" $family)).enabled (index $v (printf "enableIPv%sMasquerade" $family)) -}}
{{- if and $native $on (not $v.ipMasqAgent.enabled) (not (include "axoneme.nativeCIDR" (dict "values" $v "family" $family))) -}}
{{- $wrong = append $wrong (printf "routingMode=native: needs ipv%sNativeRoutingCIDR, to tell what pods reach with their own addresses; or enableIPv%sMasquerade=false, or ipMasqAgent.enabled=true" $family $family) -}}
{{- end -}}
{{- end -}}
{{- if and $v.ipMasqAgent.enabled (not $v.bpf.masquerade) -}}
{{- $wrong = append $wrong "ipMasqAgent.enabled=true: needs bpf.masquerade=true" -}}
{{- end -}}
{{- if $v.installNoConntrackIptablesRules -}}
{{- if not (and $native $replacement) -}}
{{- $wrong = append $wrong "installNoConntrackIptablesRules=true: needs routingMode=native and kubeProxyReplacement=true" -}}
{{- else if not (or $v.bpf.masquerade (not (or (and $v.ipv4.enabled $v.enableIPv4Masquerade) (and $v.ipv6.enabled $v.enableIPv6Masquerade)))) -}}
{{- $wrong = append $wrong "installNoConntrackIptablesRules=true: needs bpf.masquerade=true, or no masquerading" -}}
{{- end -}}
{{- end -}}
{{- if and $v.cni.configMap $v.cni.customConf -}}
{{- $wrong = append $wrong "cni.configMap and cni.customConf: set one" -}}
{{- end -}}
{{- range $wrong -}}
{{- include "axoneme.note" (dict "found" $found "list" "mistakes" "text" .) -}}
{{- end -}}
{{- end -}}

{{- /* What pods of a family reach with their own addresses: as given, else the only CIDR of the pool. */ -}}
{{- define "axoneme.nativeCIDR" -}}
{{- $given := index .values (printf "ipv%sNativeRoutingCIDR" .family) -}}
{{- $pool := index .values.ipam.operator (printf "clusterPoolIPv%sPodCIDRList" .family) -}}
{{- if $given -}}
{{- $given -}}
{{- else if and (eq (toString .values.ipam.mode) "cluster-pool") (kindIs "slice" $pool) -}}
{{- if eq (len $pool) 1 -}}{{- first $pool -}}{{- end -}}
{{- end -}}
{{- end -}}
