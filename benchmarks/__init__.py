"""How fast lrtrain is, measured against others on the machine at hand: ``python -m benchmarks``."""
