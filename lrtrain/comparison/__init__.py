"""Comparing schedules under equal conditions: what is trained, how it is measured, and what the evidence supports."""
