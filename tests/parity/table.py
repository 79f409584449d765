"""Writes docs/reference/parity.md from the pairs that the tests compare: ``python -m tests.parity.table``."""

from __future__ import annotations

from pathlib import Path

from tests.parity.pairs import ANOTHER_KIND, LENGTHS, LIBRARIES, PAIRS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "parity.md"
TITLES = {
    "torch": "PyTorch: torch.optim.lr_scheduler",
    "transformers": "Hugging Face: transformers",
    "timm": "timm: timm.scheduler",
}
LENGTHS_TEXT = f"{', '.join(map(str, LENGTHS[:-1]))} and {LENGTHS[-1]}"
HEAD = (
    "# Their schedules in lrtrain's words\n\n"
    "Every schedule that PyTorch, transformers and timm have, and the spec that gives the same learning rates. A test "
    f"compares each pair at every step of runs of {LENGTHS_TEXT} updates, within 1e-6: `uv run nox --session parity`. "
    "The optimizer's learning rate is 1; T is the number of updates in the run, W a tenth of it, and `<T - 1>` stands "
    "for that number.\n\n"
    "Their schedulers are called once for every optimizer update: `scheduler.step()` after `optimizer.step()`, or "
    "timm's `scheduler.step_update(t)` with `t_in_epochs=False`. In lrtrain a step is an update too, counted from 0.\n"
)


def page() -> str:
    """Returns the text of the page."""
    return "\n".join([HEAD, *("\n".join([*section(library), ""]) for library in LIBRARIES)]).rstrip() + "\n"


def section(library: str) -> list[str]:
    """Returns the table of one library."""
    rows = [f"| `{pair.theirs}` | `{pair.ours}` | {pair.difference} |" for pair in PAIRS if pair.library == library]
    rows += [f"| `{name}` | | {why} |" for (other, name), why in ANOTHER_KIND.items() if other == library]
    return [f"## {TITLES[library]}", "", "| theirs | our spec | difference |", "|---|---|---|", *rows]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
