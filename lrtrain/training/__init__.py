"""One run, from its configuration to its last checkpoint; `train.py` shows all of it from top to bottom."""
