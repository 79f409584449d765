"""What may be wrong with an installation, and the cure for it: the command ``lrtrain doctor``."""
