"""Scenarios of the cluster tests. A scenario is a function of (context); it yields checks."""
