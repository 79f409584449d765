"""The plugin in this folder belongs to no workspace: its tests run where it is installed (`nox -s third_party`)."""

collect_ignore_glob = ["*"]
