"""``python -m lrtrain`` is ``lrtrain``."""

from lrtrain.cli import main

if __name__ == "__main__":
    main(prog_name="python -m lrtrain")
