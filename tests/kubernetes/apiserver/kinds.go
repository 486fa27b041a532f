package main

import (
	"context"
	"fmt"
	"reflect"
	"slices"

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
	short            []string
	namespaced       bool
	object, list     runtime.Object // empty ones
	hasStatus        bool           // as a subresource: what writes it leaves spec as it is, and the other way around
	defaults         func(runtime.Object)
}

func newOf(object runtime.Object) runtime.Object {
	return reflect.New(reflect.TypeOf(object).Elem()).Interface().(runtime.Object)
}

func (k kind) name() string            { return reflect.TypeOf(k.object).Elem().Name() }
func (k kind) new() runtime.Object     { return newOf(k.object) }
func (k kind) newList() runtime.Object { return newOf(k.list) }

// keep has a member of one object, Spec or Status, as it is in another one.
func keep(member string, to, from runtime.Object) {
	reflect.ValueOf(to).Elem().FieldByName(member).Set(reflect.ValueOf(from).Elem().FieldByName(member))
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
	{corev1.SchemeGroupVersion, "namespaces", "namespace", []string{"ns"}, false, &corev1.Namespace{}, &corev1.NamespaceList{}, true, defaultNamespace},
	{corev1.SchemeGroupVersion, "nodes", "node", []string{"no"}, false, &corev1.Node{}, &corev1.NodeList{}, true, nil},
	{corev1.SchemeGroupVersion, "pods", "pod", []string{"po"}, true, &corev1.Pod{}, &corev1.PodList{}, true, defaultPod},
	{corev1.SchemeGroupVersion, "services", "service", []string{"svc"}, true, &corev1.Service{}, &corev1.ServiceList{}, true, defaultService},
	{corev1.SchemeGroupVersion, "endpoints", "endpoints", nil, true, &corev1.Endpoints{}, &corev1.EndpointsList{}, false, nil},
	{corev1.SchemeGroupVersion, "configmaps", "configmap", nil, true, &corev1.ConfigMap{}, &corev1.ConfigMapList{}, false, nil},
	{corev1.SchemeGroupVersion, "secrets", "secret", nil, true, &corev1.Secret{}, &corev1.SecretList{}, false, nil},
	{corev1.SchemeGroupVersion, "serviceaccounts", "serviceaccount", nil, true, &corev1.ServiceAccount{}, &corev1.ServiceAccountList{}, false, nil},
	{corev1.SchemeGroupVersion, "events", "event", nil, true, &corev1.Event{}, &corev1.EventList{}, false, nil},
	{appsv1.SchemeGroupVersion, "deployments", "deployment", []string{"deploy"}, true, &appsv1.Deployment{}, &appsv1.DeploymentList{}, true, nil},
	{appsv1.SchemeGroupVersion, "daemonsets", "daemonset", []string{"ds"}, true, &appsv1.DaemonSet{}, &appsv1.DaemonSetList{}, true, nil},
	{discoveryv1.SchemeGroupVersion, "endpointslices", "endpointslice", nil, true, &discoveryv1.EndpointSlice{}, &discoveryv1.EndpointSliceList{}, false, nil},
	{coordinationv1.SchemeGroupVersion, "leases", "lease", nil, true, &coordinationv1.Lease{}, &coordinationv1.LeaseList{}, false, nil},
	{networkingv1.SchemeGroupVersion, "networkpolicies", "networkpolicy", nil, true, &networkingv1.NetworkPolicy{}, &networkingv1.NetworkPolicyList{}, false, nil},
	{policyv1.SchemeGroupVersion, "poddisruptionbudgets", "poddisruptionbudget", nil, true, &policyv1.PodDisruptionBudget{}, &policyv1.PodDisruptionBudgetList{}, false, nil},
	{rbacv1.SchemeGroupVersion, "clusterroles", "clusterrole", nil, false, &rbacv1.ClusterRole{}, &rbacv1.ClusterRoleList{}, false, nil},
	{rbacv1.SchemeGroupVersion, "clusterrolebindings", "clusterrolebinding", nil, false, &rbacv1.ClusterRoleBinding{}, &rbacv1.ClusterRoleBindingList{}, false, nil},
	{rbacv1.SchemeGroupVersion, "roles", "role", nil, true, &rbacv1.Role{}, &rbacv1.RoleList{}, false, nil},
	{rbacv1.SchemeGroupVersion, "rolebindings", "rolebinding", nil, true, &rbacv1.RoleBinding{}, &rbacv1.RoleBindingList{}, false, nil},
}

// The types of k8s.io/api serve as what they are on the wire and as what the server has in memory: no conversion in between.
func registerKinds() error {
	if err := scheme.AddToScheme(ownScheme); err != nil {
		return err
	}
	metav1.AddToGroupVersion(ownScheme, schema.GroupVersion{Version: "v1"})
	for _, each := range kinds {
		internal := schema.GroupVersion{Group: each.groupVersion.Group, Version: runtime.APIVersionInternal}
		ownScheme.AddKnownTypeWithName(internal.WithKind(each.name()), each.new())
		ownScheme.AddKnownTypeWithName(internal.WithKind(each.name()+"List"), each.newList())
		if err := ownScheme.SetVersionPriority(each.groupVersion); err != nil {
			return err
		}
		if each.defaults != nil {
			ownScheme.AddTypeDefaultingFunc(each.new(), func(thing any) { each.defaults(thing.(runtime.Object)) })
		}
		err := ownScheme.AddFieldLabelConversionFunc(each.groupVersion.WithKind(each.name()), func(label, value string) (string, string, error) {
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
	return slices.Contains([]string{"Lease", "Endpoints", "EndpointSlice"}, s.name())
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
	if s.hasStatus {
		keep("Status", object, s.new())
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
		keep("Spec", object, old)
	case s.hasStatus:
		keep("Status", object, old)
	}
	if _, ok := object.(*corev1.Service); ok {
		services.allocate(object, old)
	}
	about, _ := meta.Accessor(object)
	before, _ := meta.Accessor(old)
	generation := before.GetGeneration()
	if s.hasStatus && !s.status {
		probe := object.DeepCopyObject()
		keep("Spec", probe, old)
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
	if of.name() == "Pod" {
		made.DeleteStrategy = podStrategy{how}
	}
	if err := made.CompleteWithOptions(&generic.StoreOptions{RESTOptions: options, AttrFunc: attributes}); err != nil {
		return nil, err
	}
	all := map[string]rest.Storage{of.plural: store{made, of.short}}
	if of.hasStatus {
		ofStatus := *made
		ofStatus.UpdateStrategy = strategy{ownScheme, names.SimpleNameGenerator, of, true}
		all[of.plural+"/status"] = statusStore{&ofStatus}
	}
	return all, nil
}
