"""A real Kubernetes cluster on the sandbox's machines."""
