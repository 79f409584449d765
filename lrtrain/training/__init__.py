"""One run, from its configuration to its last checkpoint; `train.py` tells it from top to bottom."""
