package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What kube-apiserver itself decides of its kinds, as far as a network's agent can tell the difference.

func defaultNamespace(object runtime.Object) {
	it := object.(*corev1.Namespace)
	if it.Name == "" {
		return
	}
	if it.Labels == nil {
		it.Labels = map[string]string{}
	}
	it.Labels[corev1.LabelMetadataName] = it.Name
}

func defaultPod(object runtime.Object) {
	it := object.(*corev1.Pod)
	for _, container := range slices.Concat(it.Spec.InitContainers, it.Spec.Containers) {
		for n := range container.Ports {
			if container.Ports[n].Protocol == "" {
				container.Ports[n].Protocol = corev1.ProtocolTCP
			}
		}
	}
}

func validate(object runtime.Object) field.ErrorList {
	var wrong field.ErrorList
	switch it := object.(type) {
	case *corev1.Service:
		ports := field.NewPath("spec", "ports")
		named := map[string]bool{}
		for n, port := range it.Spec.Ports {
			if port.Port < 1 || port.Port > 65535 {
				wrong = append(wrong, field.Invalid(ports.Index(n).Child("port"), port.Port, "must be between 1 and 65535, inclusive"))
			}
			if named[port.Name] {
				wrong = append(wrong, field.Duplicate(ports.Index(n).Child("name"), port.Name))
			}
			named[port.Name] = true
			if port.Name == "" && len(it.Spec.Ports) > 1 {
				wrong = append(wrong, field.Required(ports.Index(n).Child("name"), ""))
			}
		}
	case *discoveryv1.EndpointSlice:
		if !slices.Contains([]discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6, discoveryv1.AddressTypeFQDN}, it.AddressType) {
			wrong = append(wrong, field.Invalid(field.NewPath("addressType"), it.AddressType, "must be IPv4, IPv6 or FQDN"))
		}
	}
	return wrong
}

// unchanged is of fields that are decided once.
func unchanged(object, old runtime.Object) field.ErrorList {
	if it, ok := object.(*discoveryv1.EndpointSlice); ok && it.AddressType != old.(*discoveryv1.EndpointSlice).AddressType {
		return field.ErrorList{field.Invalid(field.NewPath("addressType"), it.AddressType, "field is immutable")}
	}
	if it, ok := object.(*corev1.Service); ok {
		before := old.(*corev1.Service)
		if before.Spec.ClusterIP != "" && it.Spec.ClusterIP != before.Spec.ClusterIP && it.Spec.Type != corev1.ServiceTypeExternalName && before.Spec.Type != corev1.ServiceTypeExternalName {
			return field.ErrorList{field.Invalid(field.NewPath("spec", "clusterIPs").Index(0), it.Spec.ClusterIP, "may not change once set")}
		}
	}
	return nil
}

// addresses gives Services their cluster addresses and node ports. What was given is not taken back: a test's cluster has room.
type addresses struct {
	sync.Mutex
	ranges   []*net.IPNet
	given    []uint32
	nodePort int32
}

func (a *addresses) configure(ranges []string) error {
	for _, text := range ranges {
		_, network, err := net.ParseCIDR(text)
		if err != nil {
			return fmt.Errorf("--service-cluster-ip-range: %w", err)
		}
		// The upper half: manifests that name an address name one near the beginning.
		a.ranges, a.given = append(a.ranges, network), append(a.given, 0x8000)
	}
	return nil
}

func familyOf(network *net.IPNet) corev1.IPFamily {
	if network.IP.To4() != nil {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

func (a *addresses) next(n int) string {
	a.given[n]++
	address := slices.Clone(a.ranges[n].IP)
	last := address[len(address)-4:]
	binary.BigEndian.PutUint32(last, binary.BigEndian.Uint32(last)|a.given[n])
	return address.String()
}

func defaultService(object runtime.Object) {
	spec := &object.(*corev1.Service).Spec
	if spec.Type == "" {
		spec.Type = corev1.ServiceTypeClusterIP
	}
	if spec.SessionAffinity == "" {
		spec.SessionAffinity = corev1.ServiceAffinityNone
	}
	if spec.SessionAffinity == corev1.ServiceAffinityClientIP && spec.SessionAffinityConfig == nil {
		seconds := corev1.DefaultClientIPServiceAffinitySeconds
		spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
	}
	for n := range spec.Ports {
		port := &spec.Ports[n]
		if port.Protocol == "" {
			port.Protocol = corev1.ProtocolTCP
		}
		if port.TargetPort == (intstr.IntOrString{}) || port.TargetPort == intstr.FromString("") {
			port.TargetPort = intstr.FromInt32(port.Port)
		}
	}
	if spec.Type == corev1.ServiceTypeExternalName {
		return
	}
	if spec.InternalTrafficPolicy == nil {
		cluster := corev1.ServiceInternalTrafficPolicyCluster
		spec.InternalTrafficPolicy = &cluster
	}
	if outside(spec) && spec.ExternalTrafficPolicy == "" {
		spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	}
	if spec.Type == corev1.ServiceTypeLoadBalancer && spec.AllocateLoadBalancerNodePorts == nil {
		allocate := true
		spec.AllocateLoadBalancerNodePorts = &allocate
	}
}

func outside(spec *corev1.ServiceSpec) bool {
	return spec.Type == corev1.ServiceTypeNodePort || spec.Type == corev1.ServiceTypeLoadBalancer
}

// allocate gives what is not named; a Service that is there keeps what it has.
func (a *addresses) allocate(object, old runtime.Object) {
	a.Lock()
	defer a.Unlock()
	spec := &object.(*corev1.Service).Spec
	if spec.Type == corev1.ServiceTypeExternalName {
		return
	}
	if old != nil {
		keepAddresses(spec, old.(*corev1.Service).Spec)
	}
	a.addresses(spec)
	if spec.Type == corev1.ServiceTypeNodePort || (outside(spec) && *spec.AllocateLoadBalancerNodePorts) {
		for n := range spec.Ports {
			if spec.Ports[n].NodePort == 0 {
				spec.Ports[n].NodePort = a.nextPort()
			}
		}
	}
	if spec.Type == corev1.ServiceTypeLoadBalancer && spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal && spec.HealthCheckNodePort == 0 {
		spec.HealthCheckNodePort = a.nextPort()
	}
}

func keepAddresses(spec *corev1.ServiceSpec, before corev1.ServiceSpec) {
	if spec.ClusterIP == "" && len(spec.ClusterIPs) == 0 {
		spec.ClusterIP, spec.ClusterIPs = before.ClusterIP, before.ClusterIPs
	}
	if len(spec.IPFamilies) == 0 && spec.ClusterIP == before.ClusterIP {
		spec.IPFamilies = before.IPFamilies
		if len(spec.ClusterIPs) == 0 {
			spec.ClusterIPs = before.ClusterIPs
		}
	}
	for n := range spec.Ports {
		for _, port := range before.Ports {
			if outside(spec) && spec.Ports[n].NodePort == 0 && port.Port == spec.Ports[n].Port && port.Protocol == spec.Ports[n].Protocol {
				spec.Ports[n].NodePort = port.NodePort
			}
		}
	}
	if spec.HealthCheckNodePort == 0 && spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		spec.HealthCheckNodePort = before.HealthCheckNodePort
	}
}

func (a *addresses) nextPort() int32 {
	a.nodePort++
	return 31999 + a.nodePort%700
}

func (a *addresses) addresses(spec *corev1.ServiceSpec) {
	policy := corev1.IPFamilyPolicySingleStack
	if spec.IPFamilyPolicy != nil {
		policy = *spec.IPFamilyPolicy
	}
	if len(spec.IPFamilies) == 0 {
		first := a.ranges[0]
		if ip := net.ParseIP(spec.ClusterIP); ip != nil {
			for _, network := range a.ranges {
				if (ip.To4() != nil) == (network.IP.To4() != nil) {
					first = network
				}
			}
		}
		spec.IPFamilies = []corev1.IPFamily{familyOf(first)}
		for _, other := range a.ranges {
			if policy != corev1.IPFamilyPolicySingleStack || len(spec.ClusterIPs) > 1 {
				if family := familyOf(other); family != spec.IPFamilies[0] {
					spec.IPFamilies = append(spec.IPFamilies, family)
				}
			}
		}
	}
	if spec.IPFamilyPolicy == nil {
		if len(spec.IPFamilies) > 1 {
			policy = corev1.IPFamilyPolicyRequireDualStack
		}
		spec.IPFamilyPolicy = &policy
	}
	if spec.ClusterIP == "" && len(spec.ClusterIPs) > 0 {
		spec.ClusterIP = spec.ClusterIPs[0]
	}
	if spec.ClusterIP == corev1.ClusterIPNone {
		spec.ClusterIPs = []string{corev1.ClusterIPNone}
		return
	}
	for n := len(spec.ClusterIPs); n < len(spec.IPFamilies); n++ {
		if n == 0 && spec.ClusterIP != "" {
			spec.ClusterIPs = append(spec.ClusterIPs, spec.ClusterIP)
			continue
		}
		for r, network := range a.ranges {
			if familyOf(network) == spec.IPFamilies[n] {
				spec.ClusterIPs = append(spec.ClusterIPs, a.next(r))
			}
		}
	}
	if len(spec.ClusterIPs) > 0 {
		spec.ClusterIP = spec.ClusterIPs[0]
	}
}
