"""The checks of workloads: of what they declare, their data, their network and rules, and their training."""
