"""The command line: one file a command; the only place that turns errors into click's."""

from lrtrain.cli.main import main

__all__ = ["main"]
