"""What the cluster tests, the demo and the benchmarks share. Standard library only."""
