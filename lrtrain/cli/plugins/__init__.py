"""The commands of `lrtrain plugins`."""
