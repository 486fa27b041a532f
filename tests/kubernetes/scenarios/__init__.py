"""Scenarios on a Kubernetes cluster."""
