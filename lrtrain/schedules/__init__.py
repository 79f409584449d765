"""From a spec to the table of learning rates that a run applies, and to code for other libraries."""
