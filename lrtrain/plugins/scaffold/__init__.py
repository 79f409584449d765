"""A package for a new plugin: the files that `lrtrain plugins new` writes."""
