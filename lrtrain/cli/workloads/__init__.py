"""The commands of `lrtrain workloads`."""
