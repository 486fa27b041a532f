// Pods as a kubelet has them made: sandboxes and containers by the container runtime interface.
//
//	cri_pods SOCKET ready                                        whether the runtime has a network, and what it says of it
//	cri_pods SOCKET run NAMESPACE NAME UID IMAGE [HOSTPORT:PORT] makes a pod with one container; prints its sandbox and addresses
//	cri_pods SOCKET stop SANDBOX                                 stops it and takes it away
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type pod struct {
	Sandbox string   `json:"sandbox"`
	IPs     []string `json:"ips"`
	Seconds float64  `json:"seconds"` // that RunPodSandbox took
}

func ready(ctx context.Context, runtime cri.RuntimeServiceClient) (any, error) {
	version, err := runtime.Version(ctx, &cri.VersionRequest{})
	if err != nil {
		return nil, err
	}
	status, err := runtime.Status(ctx, &cri.StatusRequest{})
	if err != nil {
		return nil, err
	}
	for _, condition := range status.Status.Conditions {
		if condition.Type == cri.NetworkReady {
			return map[string]any{"ready": condition.Status, "message": condition.Message, "runtime": version.RuntimeName + " " + version.RuntimeVersion}, nil
		}
	}
	return nil, fmt.Errorf("no condition %s", cri.NetworkReady)
}

func run(ctx context.Context, runtime cri.RuntimeServiceClient, namespace, name, uid, image string, ports []string) (any, error) {
	config := &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: name, Namespace: namespace, Uid: uid}, Hostname: name, LogDirectory: "/var/log/pods/" + uid,
		Labels: map[string]string{"io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": namespace, "io.kubernetes.pod.uid": uid},
		Linux:  &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER}}},
	}
	for _, port := range ports {
		var mapping cri.PortMapping
		if _, err := fmt.Sscanf(port, "%d:%d", &mapping.HostPort, &mapping.ContainerPort); err != nil {
			return nil, fmt.Errorf("%s: %w", port, err)
		}
		config.PortMappings = append(config.PortMappings, &mapping)
	}
	began := time.Now()
	made, err := runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		return nil, err
	}
	answer := pod{Sandbox: made.PodSandboxId, Seconds: time.Since(began).Seconds()}
	status, err := runtime.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: answer.Sandbox})
	if err != nil {
		return nil, err
	}
	answer.IPs = append(answer.IPs, status.Status.Network.Ip)
	for _, more := range status.Status.Network.AdditionalIps {
		answer.IPs = append(answer.IPs, more.Ip)
	}
	created, err := runtime.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: answer.Sandbox, SandboxConfig: config,
		Config: &cri.ContainerConfig{Metadata: &cri.ContainerMetadata{Name: "main"}, Image: &cri.ImageSpec{Image: image}, LogPath: "main.log", Linux: &cri.LinuxContainerConfig{}}})
	if err != nil {
		return nil, err
	}
	_, err = runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: created.ContainerId})
	return answer, err
}

func stop(ctx context.Context, runtime cri.RuntimeServiceClient, sandbox string) (any, error) {
	if _, err := runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: sandbox}); err != nil {
		return nil, err
	}
	_, err := runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: sandbox})
	return map[string]string{"stopped": sandbox}, err
}

func main() {
	words := os.Args[1:]
	var answer any
	connection, err := grpc.NewClient("unix://"+words[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		runtime := cri.NewRuntimeServiceClient(connection)
		switch {
		case len(words) == 2 && words[1] == "ready":
			answer, err = ready(ctx, runtime)
		case len(words) >= 6 && words[1] == "run":
			answer, err = run(ctx, runtime, words[2], words[3], words[4], words[5], words[6:])
		case len(words) == 3 && words[1] == "stop":
			answer, err = stop(ctx, runtime, words[2])
		default:
			err = fmt.Errorf("usage: cri_pods SOCKET ready | run NAMESPACE NAME UID IMAGE [HOSTPORT:PORT] | stop SANDBOX")
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(answer)
}
