// An API server of the Kubernetes whose libraries it is built with: its machinery is theirs (etcd, watch cache, lists, watches and bookmarks,
// patches and server-side apply, definitions of custom resources with their schemas and rules, discovery, admission of requests), and the kinds
// that come with Kubernetes are k8s.io/api's. kube-apiserver's own part, which no library has, is in rules.go, as far as tests need it; roles are
// followed, and there are no service accounts' tokens: a client is known by its certificate.
//
// The flags are kube-apiserver's; those that mean nothing here are taken and left aside.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	apiextensionsoptions "k8s.io/apiextensions-apiserver/pkg/cmd/server/options"
	apiextensionsopenapi "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	apiversion "k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	aggregated "k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/util/openapi"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	rbaclisters "k8s.io/client-go/listers/rbac/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/version"
	"k8s.io/kube-openapi/pkg/common"
	openapiutil "k8s.io/kube-openapi/pkg/util"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const registryPrefix = "/registry"

type options struct {
	run       *genericoptions.ServerRunOptions
	serving   *genericoptions.SecureServingOptionsWithLoopback
	etcd      *genericoptions.EtcdOptions
	audit     *genericoptions.AuditOptions
	clientCA  string
	ipRanges  []string
	authorize string
}

func newOptions() *options {
	serving := genericoptions.NewSecureServingOptions()
	serving.BindPort = 6443
	etcd := genericoptions.NewEtcdOptions(storagebackend.NewDefaultConfig(registryPrefix, nil))
	return &options{run: genericoptions.NewServerRunOptions(), serving: serving.WithLoopback(), etcd: etcd, audit: genericoptions.NewAuditOptions()}
}

func (o *options) addFlags(flags *pflag.FlagSet) {
	o.run.AddUniversalFlags(flags)
	o.serving.AddFlags(flags)
	o.etcd.AddFlags(flags)
	o.audit.AddFlags(flags)
	flags.StringVar(&o.clientCA, "client-ca-file", "", "authority of clients' certificates")
	flags.StringSliceVar(&o.ipRanges, "service-cluster-ip-range", []string{"10.96.0.0/16"}, "addresses of Services")
	flags.StringVar(&o.authorize, "authorization-mode", "RBAC", "AlwaysAllow, or a list with RBAC")
}

// config is what both servers have in common.
func (o *options) config() (*genericapiserver.Config, error) {
	config := genericapiserver.NewConfig(ownCodecs)
	if err := o.run.ApplyTo(config); err != nil {
		return nil, err
	}
	if err := o.serving.ApplyToConfig(config); err != nil {
		return nil, err
	}
	if err := o.audit.ApplyTo(config); err != nil {
		return nil, err
	}
	authority, err := dynamiccertificates.NewDynamicCAContentFromFile("client-ca-bundle", o.clientCA)
	if err != nil {
		return nil, err
	}
	if err := config.Authentication.ApplyClientCert(authority, config.SecureServing); err != nil {
		return nil, err
	}
	config.Authentication.Authenticator = union.New(group.NewAuthenticatedGroupAdder(x509.NewDynamic(authority.VerifyOptions, x509.CommonNameUserConversion)), anonymous.NewAuthenticator(nil))
	config.AggregatedDiscoveryGroupManager = aggregated.NewResourceManager("apis")
	config.PublicAddress = o.run.AdvertiseAddress
	return config, nil
}

func run(ctx context.Context, o *options) error {
	if err := services.configure(o.ipRanges); err != nil {
		return err
	}
	if err := registerKinds(); err != nil {
		return err
	}
	front, err := o.config()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(front.LoopbackClientConfig)
	if err != nil {
		return err
	}
	informerFactory := informers.NewSharedInformerFactory(client, 0)
	if strings.Contains(o.authorize, "RBAC") {
		front.Authorization.Authorizer = roles{informerFactory.Rbac().V1().ClusterRoles().Lister(), informerFactory.Rbac().V1().ClusterRoleBindings().Lister(),
			informerFactory.Rbac().V1().Roles().Lister(), informerFactory.Rbac().V1().RoleBindings().Lister()}
	} else {
		front.Authorization.Authorizer = authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
			return authorizer.DecisionAllow, "", nil
		})
	}
	definitions, err := o.definitions(*front, informerFactory)
	if err != nil {
		return err
	}

	front.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(models, openapinamer.NewDefinitionNamer(ownScheme))
	// What it serves of OpenAPI is the other server's: custom resources'.
	front.SkipOpenAPIInstallation = true
	enabled := serverstorage.NewResourceConfig()
	for _, each := range kinds {
		enabled.EnableVersions(each.groupVersion)
	}
	front.MergedResourceConfig = enabled
	storage := serverstorage.NewDefaultStorageFactory(o.etcd.StorageConfig, o.etcd.DefaultStorageMediaType, ownCodecs, serverstorage.NewDefaultResourceEncodingConfig(ownScheme), enabled, nil)
	if err := o.etcd.ApplyWithStorageFactoryTo(storage, front); err != nil {
		return err
	}
	server, err := front.Complete(informerFactory).New("kube-apiserver", definitions.GenericAPIServer)
	if err != nil {
		return err
	}
	if err := installKinds(server, front); err != nil {
		return err
	}
	if err := listGroups(server, definitions); err != nil {
		return err
	}
	server.AddPostStartHookOrDie("bootstrap", func(hook genericapiserver.PostStartHookContext) error {
		informerFactory.Start(hook.Done())
		return bootstrap(hook, client, o.serving.BindPort)
	})
	return server.PrepareRun().RunWithContext(ctx)
}

// definitions is the server of custom resources' definitions and of what they define: all of it is the library's.
func (o *options) definitions(config genericapiserver.Config, informerFactory informers.SharedInformerFactory) (*apiextensions.CustomResourceDefinitions, error) {
	config.PostStartHooks = map[string]genericapiserver.PostStartHookConfigEntry{}
	config.RESTOptionsGetter = nil
	config.Serializer = apiextensions.Codecs
	etcd := *o.etcd
	etcd.StorageConfig.Codec = apiextensions.Codecs.LegacyCodec(v1beta1.SchemeGroupVersion, apiextensionsv1.SchemeGroupVersion)
	etcd.StorageConfig.EncodeVersioner = nil
	etcd.SkipHealthEndpoints = true
	if err := etcd.ApplyTo(&config); err != nil {
		return nil, err
	}
	config.MergedResourceConfig = apiextensions.DefaultAPIResourceConfigSource()
	described, named := openapi.GetOpenAPIDefinitionsWithoutDisabledFeatures(apiextensionsopenapi.GetOpenAPIDefinitions), openapinamer.NewDefinitionNamer(apiextensions.Scheme, scheme.Scheme)
	// Without the second version there is no third one of custom resources.
	config.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(described, named)
	config.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(described, named)
	recommended := &genericapiserver.RecommendedConfig{Config: config, SharedInformerFactory: informerFactory}
	own := apiextensions.Config{GenericConfig: recommended, ExtraConfig: apiextensions.ExtraConfig{
		CRDRESTOptionsGetter: apiextensionsoptions.NewCRDRESTOptionsGetter(*o.etcd, config.ResourceTransformers, config.StorageObjectCountTracker)}}
	return own.Complete().New(genericapiserver.NewEmptyDelegate())
}

func installKinds(server *genericapiserver.GenericAPIServer, config *genericapiserver.Config) error {
	groups := map[schema.GroupVersion]map[string]rest.Storage{}
	var order []schema.GroupVersion
	for _, each := range kinds {
		made, err := newStore(each, config.RESTOptionsGetter)
		if err != nil {
			return fmt.Errorf("%s: %w", each.plural, err)
		}
		if groups[each.groupVersion] == nil {
			groups[each.groupVersion], order = map[string]rest.Storage{}, append(order, each.groupVersion)
		}
		for path, one := range made {
			groups[each.groupVersion][path] = one
		}
	}
	for _, groupVersion := range order {
		info := genericapiserver.NewDefaultAPIGroupInfo(groupVersion.Group, ownScheme, v1.ParameterCodec, ownCodecs)
		info.VersionedResourcesStorageMap[groupVersion.Version] = groups[groupVersion]
		install := server.InstallAPIGroup
		if groupVersion.Group == "" {
			install = func(info *genericapiserver.APIGroupInfo) error {
				return server.InstallLegacyAPIGroup(genericapiserver.DefaultLegacyAPIPrefix, info)
			}
		}
		if err := install(&info); err != nil {
			return fmt.Errorf("%s: %w", groupVersion, err)
		}
	}
	return nil
}

// listGroups has custom resources' groups in the list of all groups, which in a cluster is the aggregator's work.
func listGroups(server *genericapiserver.GenericAPIServer, definitions *apiextensions.CustomResourceDefinitions) error {
	informer := definitions.Informers.Apiextensions().V1().CustomResourceDefinitions()
	update := func(thing any) {
		definition, ok := thing.(*apiextensionsv1.CustomResourceDefinition)
		if !ok {
			return
		}
		all, _ := informer.Lister().List(labels.Everything())
		listed := v1.APIGroup{Name: definition.Spec.Group}
		for _, one := range all {
			for _, each := range one.Spec.Versions {
				known := v1.GroupVersionForDiscovery{GroupVersion: one.Spec.Group + "/" + each.Name, Version: each.Name}
				if one.Spec.Group == definition.Spec.Group && each.Served && !slices.Contains(listed.Versions, known) {
					listed.Versions = append(listed.Versions, known)
				}
			}
		}
		server.DiscoveryGroupManager.RemoveGroup(listed.Name)
		if len(listed.Versions) > 0 {
			slices.SortFunc(listed.Versions, func(a, b v1.GroupVersionForDiscovery) int {
				return -apiversion.CompareKubeAwareVersionStrings(a.Version, b.Version)
			})
			listed.PreferredVersion = listed.Versions[0]
			server.DiscoveryGroupManager.AddGroup(listed)
		}
	}
	_, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: update, UpdateFunc: func(_, now any) { update(now) }, DeleteFunc: update})
	return err
}

// models describes types for server-side apply: those of k8s.io/meta as their library does, those of the kinds as objects whose fields are not known.
// (kube-apiserver's are generated within k8s.io/kubernetes.)
func models(reference common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	all := openapi.GetOpenAPIDefinitionsWithoutDisabledFeatures(apiextensionsopenapi.GetOpenAPIDefinitions)(reference)
	for _, each := range kinds {
		for _, thing := range []any{each.new(), each.newList()} {
			all[openapiutil.GetCanonicalTypeName(thing)] = common.OpenAPIDefinition{Schema: spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"object"}},
				VendorExtensible: spec.VendorExtensible{Extensions: spec.Extensions{"x-kubernetes-preserve-unknown-fields": true}}}}
		}
	}
	return all
}

// bootstrap makes what every cluster has.
func bootstrap(ctx context.Context, client kubernetes.Interface, port int) error {
	names := []string{"default", "kube-system", "kube-public", "kube-node-lease"}
	for {
		var failed error
		for _, name := range names {
			_, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: v1.ObjectMeta{Name: name}}, v1.CreateOptions{})
			if err != nil && !apierrors.IsAlreadyExists(err) {
				failed = err
			}
		}
		service := &corev1.Service{ObjectMeta: v1.ObjectMeta{Name: "kubernetes", Namespace: "default", Labels: map[string]string{"component": "apiserver", "provider": "kubernetes"}},
			Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "https", Port: 443, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(int32(port))}}}}
		_, err := client.CoreV1().Services("default").Create(ctx, service, v1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			failed = err
		}
		if failed == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return failed
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// roles allows what bound roles say.
type roles struct {
	clusterRoles    rbaclisters.ClusterRoleLister
	clusterBindings rbaclisters.ClusterRoleBindingLister
	roles           rbaclisters.RoleLister
	bindings        rbaclisters.RoleBindingLister
}

func (r roles) Authorize(_ context.Context, what authorizer.Attributes) (authorizer.Decision, string, error) {
	if slices.Contains(what.GetUser().GetGroups(), user.SystemPrivilegedGroup) {
		return authorizer.DecisionAllow, "", nil
	}
	if !what.IsResourceRequest() && what.IsReadOnly() {
		for _, open := range []string{"/healthz", "/livez", "/readyz", "/version", "/api", "/openapi"} {
			if strings.HasPrefix(what.GetPath(), open) {
				return authorizer.DecisionAllow, "", nil
			}
		}
	}
	bindings, _ := r.clusterBindings.List(labels.Everything())
	for _, binding := range bindings {
		if slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool { return isSubject(s, what.GetUser(), "") }) && r.allows(binding.RoleRef, "", what) {
			return authorizer.DecisionAllow, "", nil
		}
	}
	if what.GetNamespace() != "" {
		local, _ := r.bindings.RoleBindings(what.GetNamespace()).List(labels.Everything())
		for _, binding := range local {
			if slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool { return isSubject(s, what.GetUser(), binding.Namespace) }) && r.allows(binding.RoleRef, binding.Namespace, what) {
				return authorizer.DecisionAllow, "", nil
			}
		}
	}
	return authorizer.DecisionNoOpinion, "", nil
}

func isSubject(subject rbacv1.Subject, who user.Info, namespace string) bool {
	switch subject.Kind {
	case rbacv1.GroupKind:
		return slices.Contains(who.GetGroups(), subject.Name)
	case rbacv1.UserKind:
		return who.GetName() == subject.Name
	}
	if subject.Namespace != "" {
		namespace = subject.Namespace
	}
	return who.GetName() == "system:serviceaccount:"+namespace+":"+subject.Name
}

func (r roles) allows(reference rbacv1.RoleRef, namespace string, what authorizer.Attributes) bool {
	var rules []rbacv1.PolicyRule
	if reference.Kind == "ClusterRole" {
		if role, err := r.clusterRoles.Get(reference.Name); err == nil {
			rules = role.Rules
		}
	} else if role, err := r.roles.Roles(namespace).Get(reference.Name); err == nil {
		rules = role.Rules
	}
	return slices.ContainsFunc(rules, func(rule rbacv1.PolicyRule) bool {
		if !named(rule.Verbs, what.GetVerb()) {
			return false
		}
		if !what.IsResourceRequest() {
			return slices.ContainsFunc(rule.NonResourceURLs, func(url string) bool {
				return url == what.GetPath() || (strings.HasSuffix(url, "*") && strings.HasPrefix(what.GetPath(), strings.TrimSuffix(url, "*")))
			})
		}
		resource := what.GetResource()
		if what.GetSubresource() != "" {
			resource += "/" + what.GetSubresource()
		}
		return named(rule.APIGroups, what.GetAPIGroup()) && named(rule.Resources, resource) && (len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, what.GetName()))
	})
}

func named(list []string, name string) bool {
	return slices.Contains(list, "*") || slices.Contains(list, name)
}

func main() {
	o := newOptions()
	command := &cobra.Command{Use: "kube-apiserver", SilenceUsage: true, FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		PersistentPreRunE: func(*cobra.Command, []string) error { return o.run.ComponentGlobalsRegistry.Set() },
		RunE: func(command *cobra.Command, _ []string) error {
			if asked, _ := command.Flags().GetBool("version"); asked {
				fmt.Println("Kubernetes " + version.Get().GitVersion)
				return nil
			}
			if err := o.run.Complete(); err != nil {
				return err
			}
			if len(o.etcd.StorageConfig.Transport.ServerList) == 0 {
				return fmt.Errorf("--etcd-servers is missing")
			}
			return run(command.Context(), o)
		}}
	command.Flags().Bool("version", false, "print the version")
	command.SetContext(genericapiserver.SetupSignalContext())
	o.addFlags(command.Flags())
	os.Exit(cli.Run(command))
}
