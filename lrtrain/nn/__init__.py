"""The network: layers that are fast on a CPU, and the models that are made of them. It knows of nothing else here."""
