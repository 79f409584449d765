"""A schedule as code that needs no lrtrain: `lrtrain.export`."""
