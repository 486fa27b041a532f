"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler on one machine."""
import json

PORT = 6443
SERVICE_CIDRS = {"ipv4": "10.96.0.0/16", "ipv6": "fd00:10:96::/112"}
POD_CIDRS = {"ipv4": "10.244.0.0/16", "ipv6": "fd00:10:244::/48"}
DUAL = "--feature-gates=IPv6DualStack=true"  # Alpha in 1.20.


def etcd(program, folder="/var/lib/etcd/data"):
    return [program, "--name=test", f"--data-dir={folder}", "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380", "--initial-cluster=test=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
            "--quota-backend-bytes=2147483648", "--log-level=warn", "--logger=zap"]


def api_server(program, pki, addresses, audit_log, more=()):
    """more: further flags; of two with the same name the last one counts."""
    return [program, "--etcd-servers=http://127.0.0.1:2379", f"--advertise-address={addresses['ipv4']}", "--bind-address=::", f"--secure-port={PORT}",
            f"--tls-cert-file={pki.path('apiserver.crt')}", f"--tls-private-key-file={pki.path('apiserver.key')}", f"--client-ca-file={pki.path('ca.crt')}",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={pki.path('service-account.pub')}",
            f"--service-account-signing-key-file={pki.path('service-account.key')}", "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction", f"--kubelet-client-certificate={pki.path('kubelet-client.crt')}",
            f"--kubelet-client-key={pki.path('kubelet-client.key')}", "--service-cluster-ip-range=" + ",".join(SERVICE_CIDRS.values()),
            f"--audit-policy-file={audit_policy(pki)}", f"--audit-log-path={audit_log}", "--kubelet-preferred-address-types=InternalIP", "--allow-privileged=true",
            "--endpoint-reconciler-type=lease", "--event-ttl=10m", "--profiling=false", *more]


def audit_policy(pki):
    """What service accounts of kube-system ask for: ours are among them."""
    path = pki.path("audit-policy.json")
    path.write_text(json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
        {"level": "Metadata", "userGroups": ["system:serviceaccounts:kube-system"]}, {"level": "None"}]}))
    return path


def controller_manager(program, pki):
    kubeconfig = pki.path("controller-manager.kubeconfig")
    return [program, f"--kubeconfig={kubeconfig}", f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1", "--port=0", "--leader-elect=false", "--allocate-node-cidrs=true", "--cluster-cidr=" + ",".join(POD_CIDRS.values()),
            "--service-cluster-ip-range=" + ",".join(SERVICE_CIDRS.values()), f"--root-ca-file={pki.path('ca.crt')}",
            f"--service-account-private-key-file={pki.path('service-account.key')}", "--use-service-account-credentials=true",
            f"--cluster-signing-cert-file={pki.path('ca.crt')}", f"--cluster-signing-key-file={pki.path('ca.key')}", DUAL]


def scheduler(program, pki):
    return [program, f"--kubeconfig={pki.path('scheduler.kubeconfig')}", "--bind-address=127.0.0.1", "--port=0", "--leader-elect=false"]


def make_credentials(pki, addresses):
    pki.certificate("apiserver", "kube-apiserver", hosts=[*addresses.values(), "127.0.0.1", "::1", "10.96.0.1", "fd00:10:96::1", "localhost", "kubernetes",
                                                          "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"])
    pki.certificate("kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"])
    pki.kubeconfig("admin", "kubernetes-admin", ["system:masters"])
    pki.kubeconfig("controller-manager", "system:kube-controller-manager")
    pki.kubeconfig("scheduler", "system:kube-scheduler")
