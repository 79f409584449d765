"""The commands of `lrtrain runs`."""
