"""A schedule as code that needs no lrtrain: `lrtrain.export`, with one file for each target."""
