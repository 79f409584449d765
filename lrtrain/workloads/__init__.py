"""Workloads: what is trained, as a plugin: its data, its network, its loss and its metrics."""
