// Asks Hubble as the programs do that the field has: gRPC for Go, and messages compiled from the protocol.
//
// Usage: hubble_client [--idle 13s] [--follow 1s] TARGET [CA CERTIFICATE KEY SERVER_NAME]
//
// CERTIFICATE and KEY "": the client shows none. Prints what it has seen as one object of JSON; a call that fails is a
// member of "errors", by its name.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"axoneme/flow"
	"axoneme/observer"
	"axoneme/peer"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	all     = 1 << 20 // more flows than there are
	streams = 50
)

type report struct {
	Errors        map[string]string `json:"errors"`
	Version       string            `json:"version"`
	Seen          uint64            `json:"seen"`
	Nodes         []string          `json:"nodes"`
	Namespaces    []string          `json:"namespaces"`
	Serving       bool              `json:"serving"`
	Flows         int               `json:"flows"`
	Pods          map[string]int    `json:"pods"` // flows by source
	Streamed      []int             `json:"streamed"`
	Followed      int               `json:"followed"`
	FollowEnd     string            `json:"follow-end"`
	BadFilterCode string            `json:"bad-filter-code"`
	BadFilter     string            `json:"bad-filter"`
	AgentEvents   []string          `json:"agent-events"`
	Peers         []string          `json:"peers"`
}

func (r *report) failed(what string, err error) {
	if err != nil {
		r.Errors[what] = err.Error()
	}
}

func transport(arguments []string) (grpc.DialOption, error) {
	if len(arguments) == 0 {
		return grpc.WithInsecure(), nil
	}
	authority, err := os.ReadFile(arguments[0])
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: arguments[3]}
	if !config.RootCAs.AppendCertsFromPEM(authority) {
		return nil, errors.New(arguments[0] + ": no certificate")
	}
	if arguments[1] != "" {
		pair, err := tls.LoadX509KeyPair(arguments[1], arguments[2])
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return grpc.WithTransportCredentials(credentials.NewTLS(config)), nil
}

// Calls each for every answer, until there are no more.
func flows(ctx context.Context, client observer.ObserverClient, request *observer.GetFlowsRequest, each func(*flow.Flow)) error {
	stream, err := client.GetFlows(ctx, request)
	if err != nil {
		return err
	}
	for {
		answer, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if answer.GetFlow() != nil {
			each(answer.GetFlow())
		}
	}
}

func (r *report) unary(ctx context.Context, connection *grpc.ClientConn, client observer.ObserverClient) {
	server, err := client.ServerStatus(ctx, &observer.ServerStatusRequest{})
	r.failed("ServerStatus", err)
	r.Version, r.Seen = server.GetVersion(), server.GetSeenFlows()
	nodes, err := client.GetNodes(ctx, &observer.GetNodesRequest{})
	r.failed("GetNodes", err)
	for _, node := range nodes.GetNodes() {
		r.Nodes = append(r.Nodes, node.GetName()+" "+node.GetState().String())
	}
	namespaces, err := client.GetNamespaces(ctx, &observer.GetNamespacesRequest{})
	r.failed("GetNamespaces", err)
	for _, namespace := range namespaces.GetNamespaces() {
		r.Namespaces = append(r.Namespaces, namespace.GetCluster()+"/"+namespace.GetNamespace())
	}
	answer, err := health.NewHealthClient(connection).Check(ctx, &health.HealthCheckRequest{})
	r.failed("Check", err)
	r.Serving = answer.GetStatus() == health.HealthCheckResponse_SERVING
}

func (r *report) streams(ctx context.Context, client observer.ObserverClient, follow time.Duration) {
	r.failed("GetFlows", flows(ctx, client, &observer.GetFlowsRequest{Number: all}, func(f *flow.Flow) {
		r.Flows++
		r.Pods[f.GetSource().GetPodName()]++
	}))
	// Many at once share the connection's window.
	var group sync.WaitGroup
	var lock sync.Mutex
	for i := 0; i < streams; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			count := 0
			err := flows(ctx, client, &observer.GetFlowsRequest{Number: all}, func(*flow.Flow) { count++ })
			lock.Lock()
			defer lock.Unlock()
			r.failed("GetFlows beside others", err)
			r.Streamed = append(r.Streamed, count)
		}()
	}
	group.Wait()
	limited, cancel := context.WithTimeout(ctx, follow)
	defer cancel()
	err := flows(limited, client, &observer.GetFlowsRequest{Follow: true}, func(*flow.Flow) { r.Followed++ })
	r.FollowEnd = status.Code(err).String()
	bad := []*flow.FlowFilter{{SourceIp: []string{"nonsense"}}}
	err = flows(ctx, client, &observer.GetFlowsRequest{Whitelist: bad}, func(*flow.Flow) {})
	r.BadFilterCode, r.BadFilter = status.Code(err).String(), status.Convert(err).Message()
}

func (r *report) agentEvents(ctx context.Context, client observer.ObserverClient) error {
	stream, err := client.GetAgentEvents(ctx, &observer.GetAgentEventsRequest{Number: all})
	if err != nil {
		return err
	}
	for {
		answer, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		r.AgentEvents = append(r.AgentEvents, answer.GetAgentEvent().GetType().String())
	}
}

// Peers are told of as long as somebody listens.
func (r *report) peers(ctx context.Context, connection *grpc.ClientConn) error {
	limited, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	stream, err := peer.NewPeerClient(connection).Notify(limited, &peer.NotifyRequest{})
	if err != nil {
		return err
	}
	for {
		change, err := stream.Recv()
		if err != nil {
			if limited.Err() != nil {
				return nil
			}
			return err
		}
		r.Peers = append(r.Peers, change.GetName()+" "+change.GetAddress()+" "+change.GetType().String()+" "+change.GetTls().GetServerName())
	}
}

func run(target string, security []string, idle, follow time.Duration) (*report, error) {
	secure, err := transport(security)
	if err != nil {
		return nil, err
	}
	// As hubble and hubble-relay do: silence is asked about.
	alive := grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second, PermitWithoutStream: true})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	connection, err := grpc.DialContext(ctx, target, secure, alive, grpc.WithReturnConnectionError(), grpc.FailOnNonTempDialError(true))
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	client, background := observer.NewObserverClient(connection), context.Background()
	r := &report{Errors: map[string]string{}, Pods: map[string]int{}}
	r.unary(background, connection, client)
	r.streams(background, client, follow)
	r.failed("GetAgentEvents", r.agentEvents(background, client))
	r.failed("Notify", r.peers(background, connection))
	if idle > 0 {
		time.Sleep(idle)
		_, err = client.ServerStatus(background, &observer.ServerStatusRequest{})
		r.failed("ServerStatus after a while", err)
	}
	return r, nil
}

func main() {
	idle := flag.Duration("idle", 0, "silence before a last call")
	follow := flag.Duration("follow", time.Second, "how long to follow")
	flag.Parse()
	arguments := flag.Args()
	if len(arguments) != 1 && len(arguments) != 5 {
		fmt.Fprintln(os.Stderr, "usage: hubble_client [--idle 13s] [--follow 1s] TARGET [CA CERTIFICATE KEY SERVER_NAME]")
		os.Exit(2)
	}
	r, err := run(arguments[0], arguments[1:], *idle, *follow)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hubble_client:", err)
		os.Exit(1)
	}
}
