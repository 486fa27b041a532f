package main

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/client-go/kubernetes/scheme"
)

// A kind of Kubernetes' own: what k8s.io/kubernetes has a registry for, and its libraries have not.
type kind struct {
	groupVersion     schema.GroupVersion
	plural, singular string
	name             string
	short            []string
	namespaced       bool
	new, newList     func() runtime.Object
	// Of objects with a subresource status: what a write keeps of the object that is there. Not for status itself, but for all of the rest.
	keepStatus, keepSpec func(to, from runtime.Object)
	// What an API server fills in.
	defaults func(runtime.Object)
}

func (k kind) resource() schema.GroupResource {
	return k.groupVersion.WithResource(k.plural).GroupResource()
}

var (
	services  = &addresses{}
	ownScheme = runtime.NewScheme()
	ownCodecs = serializer.NewCodecFactory(ownScheme)
)

var kinds = []kind{
	{corev1.SchemeGroupVersion, "namespaces", "namespace", "Namespace", []string{"ns"}, false,
		func() runtime.Object { return &corev1.Namespace{} }, func() runtime.Object { return &corev1.NamespaceList{} },
		func(to, from runtime.Object) { to.(*corev1.Namespace).Status = from.(*corev1.Namespace).Status },
		func(to, from runtime.Object) { to.(*corev1.Namespace).Spec = from.(*corev1.Namespace).Spec }, defaultNamespace},
	{corev1.SchemeGroupVersion, "nodes", "node", "Node", []string{"no"}, false,
		func() runtime.Object { return &corev1.Node{} }, func() runtime.Object { return &corev1.NodeList{} },
		func(to, from runtime.Object) { to.(*corev1.Node).Status = from.(*corev1.Node).Status },
		func(to, from runtime.Object) { to.(*corev1.Node).Spec = from.(*corev1.Node).Spec }, nil},
	{corev1.SchemeGroupVersion, "pods", "pod", "Pod", []string{"po"}, true,
		func() runtime.Object { return &corev1.Pod{} }, func() runtime.Object { return &corev1.PodList{} },
		func(to, from runtime.Object) { to.(*corev1.Pod).Status = from.(*corev1.Pod).Status },
		func(to, from runtime.Object) { to.(*corev1.Pod).Spec = from.(*corev1.Pod).Spec }, defaultPod},
	{corev1.SchemeGroupVersion, "services", "service", "Service", []string{"svc"}, true,
		func() runtime.Object { return &corev1.Service{} }, func() runtime.Object { return &corev1.ServiceList{} },
		func(to, from runtime.Object) { to.(*corev1.Service).Status = from.(*corev1.Service).Status },
		func(to, from runtime.Object) { to.(*corev1.Service).Spec = from.(*corev1.Service).Spec }, defaultService},
	plain(corev1.SchemeGroupVersion, "endpoints", "endpoints", "Endpoints", true,
		func() runtime.Object { return &corev1.Endpoints{} }, func() runtime.Object { return &corev1.EndpointsList{} }),
	plain(corev1.SchemeGroupVersion, "configmaps", "configmap", "ConfigMap", true,
		func() runtime.Object { return &corev1.ConfigMap{} }, func() runtime.Object { return &corev1.ConfigMapList{} }),
	plain(corev1.SchemeGroupVersion, "secrets", "secret", "Secret", true,
		func() runtime.Object { return &corev1.Secret{} }, func() runtime.Object { return &corev1.SecretList{} }),
	plain(corev1.SchemeGroupVersion, "serviceaccounts", "serviceaccount", "ServiceAccount", true,
		func() runtime.Object { return &corev1.ServiceAccount{} }, func() runtime.Object { return &corev1.ServiceAccountList{} }),
	plain(corev1.SchemeGroupVersion, "events", "event", "Event", true,
		func() runtime.Object { return &corev1.Event{} }, func() runtime.Object { return &corev1.EventList{} }),
	{appsv1.SchemeGroupVersion, "deployments", "deployment", "Deployment", []string{"deploy"}, true,
		func() runtime.Object { return &appsv1.Deployment{} }, func() runtime.Object { return &appsv1.DeploymentList{} },
		func(to, from runtime.Object) { to.(*appsv1.Deployment).Status = from.(*appsv1.Deployment).Status },
		func(to, from runtime.Object) { to.(*appsv1.Deployment).Spec = from.(*appsv1.Deployment).Spec }, nil},
	{appsv1.SchemeGroupVersion, "daemonsets", "daemonset", "DaemonSet", []string{"ds"}, true,
		func() runtime.Object { return &appsv1.DaemonSet{} }, func() runtime.Object { return &appsv1.DaemonSetList{} },
		func(to, from runtime.Object) { to.(*appsv1.DaemonSet).Status = from.(*appsv1.DaemonSet).Status },
		func(to, from runtime.Object) { to.(*appsv1.DaemonSet).Spec = from.(*appsv1.DaemonSet).Spec }, nil},
	plain(discoveryv1.SchemeGroupVersion, "endpointslices", "endpointslice", "EndpointSlice", true,
		func() runtime.Object { return &discoveryv1.EndpointSlice{} }, func() runtime.Object { return &discoveryv1.EndpointSliceList{} }),
	plain(coordinationv1.SchemeGroupVersion, "leases", "lease", "Lease", true,
		func() runtime.Object { return &coordinationv1.Lease{} }, func() runtime.Object { return &coordinationv1.LeaseList{} }),
	plain(networkingv1.SchemeGroupVersion, "networkpolicies", "networkpolicy", "NetworkPolicy", true,
		func() runtime.Object { return &networkingv1.NetworkPolicy{} }, func() runtime.Object { return &networkingv1.NetworkPolicyList{} }),
	plain(policyv1.SchemeGroupVersion, "poddisruptionbudgets", "poddisruptionbudget", "PodDisruptionBudget", true,
		func() runtime.Object { return &policyv1.PodDisruptionBudget{} }, func() runtime.Object { return &policyv1.PodDisruptionBudgetList{} }),
	plain(rbacv1.SchemeGroupVersion, "clusterroles", "clusterrole", "ClusterRole", false,
		func() runtime.Object { return &rbacv1.ClusterRole{} }, func() runtime.Object { return &rbacv1.ClusterRoleList{} }),
	plain(rbacv1.SchemeGroupVersion, "clusterrolebindings", "clusterrolebinding", "ClusterRoleBinding", false,
		func() runtime.Object { return &rbacv1.ClusterRoleBinding{} }, func() runtime.Object { return &rbacv1.ClusterRoleBindingList{} }),
	plain(rbacv1.SchemeGroupVersion, "roles", "role", "Role", true,
		func() runtime.Object { return &rbacv1.Role{} }, func() runtime.Object { return &rbacv1.RoleList{} }),
	plain(rbacv1.SchemeGroupVersion, "rolebindings", "rolebinding", "RoleBinding", true,
		func() runtime.Object { return &rbacv1.RoleBinding{} }, func() runtime.Object { return &rbacv1.RoleBindingList{} }),
}

func plain(groupVersion schema.GroupVersion, plural, singular, name string, namespaced bool, new, newList func() runtime.Object) kind {
	return kind{groupVersion: groupVersion, plural: plural, singular: singular, name: name, namespaced: namespaced, new: new, newList: newList}
}

// The types of k8s.io/api serve as what they are on the wire and as what the server has in memory: no conversion in between.
func registerKinds() error {
	if err := scheme.AddToScheme(ownScheme); err != nil {
		return err
	}
	metav1.AddToGroupVersion(ownScheme, schema.GroupVersion{Version: "v1"})
	for _, each := range kinds {
		internal := schema.GroupVersion{Group: each.groupVersion.Group, Version: runtime.APIVersionInternal}
		ownScheme.AddKnownTypeWithName(internal.WithKind(each.name), each.new())
		ownScheme.AddKnownTypeWithName(internal.WithKind(each.name+"List"), each.newList())
		if err := ownScheme.SetVersionPriority(each.groupVersion); err != nil {
			return err
		}
		if each.defaults != nil {
			ownScheme.AddTypeDefaultingFunc(each.new(), func(thing any) { each.defaults(thing.(runtime.Object)) })
		}
		err := ownScheme.AddFieldLabelConversionFunc(each.groupVersion.WithKind(each.name), func(label, value string) (string, string, error) {
			_, set, err := attributes(each.new())
			if err == nil && !set.Has(label) {
				err = fmt.Errorf("%q is not a known field selector", label)
			}
			return label, value, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Labels and selectable fields.
func attributes(object runtime.Object) (labels.Set, fields.Set, error) {
	about, err := meta.Accessor(object)
	if err != nil {
		return nil, nil, err
	}
	set := fields.Set{"metadata.name": about.GetName(), "metadata.namespace": about.GetNamespace()}
	switch it := object.(type) {
	case *corev1.Pod:
		set["spec.nodeName"], set["status.phase"], set["status.podIP"] = it.Spec.NodeName, string(it.Status.Phase), it.Status.PodIP
		set["spec.hostNetwork"] = fmt.Sprint(it.Spec.HostNetwork)
	case *corev1.Node:
		set["spec.unschedulable"] = fmt.Sprint(it.Spec.Unschedulable)
	case *corev1.Secret:
		set["type"] = string(it.Type)
	case *corev1.Service:
		set["spec.clusterIP"], set["spec.type"] = it.Spec.ClusterIP, string(it.Spec.Type)
	case *corev1.Namespace:
		set["status.phase"] = string(it.Status.Phase)
	}
	return about.GetLabels(), set, nil
}

func matching(label labels.Selector, field fields.Selector) storage.SelectionPredicate {
	return storage.SelectionPredicate{Label: label, Field: field, GetAttrs: attributes}
}

// strategy is how objects of a kind are created, changed and deleted, by their own path or by that of their status.
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
	kind
	status bool
}

func (s strategy) NamespaceScoped() bool { return s.namespaced }
func (s strategy) AllowCreateOnUpdate() bool {
	return s.name == "Lease" || s.name == "Endpoints" || s.name == "EndpointSlice"
}
func (s strategy) AllowUnconditionalUpdate() bool                            { return true }
func (s strategy) Canonicalize(runtime.Object)                               {}
func (s strategy) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }
func (s strategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}
func (s strategy) Validate(_ context.Context, object runtime.Object) field.ErrorList {
	return validate(object)
}
func (s strategy) ValidateUpdate(_ context.Context, object, old runtime.Object) field.ErrorList {
	return append(validate(object), unchanged(object, old)...)
}

func (s strategy) PrepareForCreate(_ context.Context, object runtime.Object) {
	if s.keepStatus != nil {
		s.keepStatus(object, s.new())
	}
	if it, ok := object.(*corev1.Pod); ok {
		it.Status.Phase = corev1.PodPending
	}
	if it, ok := object.(*corev1.Namespace); ok {
		it.Status.Phase = corev1.NamespaceActive
	}
	if _, ok := object.(*corev1.Service); ok {
		services.allocate(object, nil)
	}
	if about, err := meta.Accessor(object); err == nil {
		about.SetGeneration(1)
	}
}

func (s strategy) PrepareForUpdate(_ context.Context, object, old runtime.Object) {
	switch {
	case s.status:
		s.keepSpec(object, old)
	case s.keepStatus != nil:
		s.keepStatus(object, old)
	}
	if _, ok := object.(*corev1.Service); ok {
		services.allocate(object, old)
	}
	about, _ := meta.Accessor(object)
	before, _ := meta.Accessor(old)
	generation := before.GetGeneration()
	if s.keepStatus != nil && !s.status {
		probe := object.DeepCopyObject()
		s.keepSpec(probe, old)
		if !apiequality.Semantic.DeepEqual(probe, object) {
			generation++
		}
	}
	about.SetGeneration(generation)
}

// podStrategy deletes as a kubelet wants it: it first says that it is to be, and by when.
type podStrategy struct{ strategy }

func (podStrategy) CheckGracefulDelete(_ context.Context, object runtime.Object, options *metav1.DeleteOptions) bool {
	pod := object.(*corev1.Pod)
	period := int64(30)
	switch {
	case options.GracePeriodSeconds != nil:
		period = *options.GracePeriodSeconds
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		period = *pod.Spec.TerminationGracePeriodSeconds
	}
	if pod.Spec.NodeName == "" || pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded {
		period = 0
	}
	options.GracePeriodSeconds = &period
	return true
}

// store is the whole registry of a kind, and statusStore its status as a resource of its own.
type store struct {
	*registry.Store
	short []string
}

func (s store) ShortNames() []string { return s.short }

type statusStore struct{ of *registry.Store }

func (s statusStore) New() runtime.Object { return s.of.New() }
func (s statusStore) Destroy()            {}
func (s statusStore) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	return s.of.Get(ctx, name, options)
}
func (s statusStore) Update(ctx context.Context, name string, object rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, _ bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return s.of.Update(ctx, name, object, create, update, false, options)
}

func newStore(of kind, options generic.RESTOptionsGetter) (map[string]rest.Storage, error) {
	how := strategy{ownScheme, names.SimpleNameGenerator, of, false}
	made := &registry.Store{
		NewFunc: of.new, NewListFunc: of.newList, PredicateFunc: matching, DefaultQualifiedResource: of.resource(),
		SingularQualifiedResource: of.groupVersion.WithResource(of.singular).GroupResource(),
		CreateStrategy:            how, UpdateStrategy: how, DeleteStrategy: how, TableConvertor: rest.NewDefaultTableConvertor(of.resource()),
	}
	if of.name == "Pod" {
		made.DeleteStrategy = podStrategy{how}
	}
	if err := made.CompleteWithOptions(&generic.StoreOptions{RESTOptions: options, AttrFunc: attributes}); err != nil {
		return nil, err
	}
	all := map[string]rest.Storage{of.plural: store{made, of.short}}
	if of.keepStatus != nil {
		ofStatus := *made
		ofStatus.UpdateStrategy = strategy{ownScheme, names.SimpleNameGenerator, of, true}
		all[of.plural+"/status"] = statusStore{&ofStatus}
	}
	return all, nil
}
