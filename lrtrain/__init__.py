"""Train a network under a learning-rate schedule, and tell which schedule is better."""
