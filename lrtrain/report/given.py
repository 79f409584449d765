"""The page and the picture of results that were measured anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.comparison.statistics import ALPHA
from lrtrain.errors import UsageError
from lrtrain.report import numbers
from lrtrain.report.page import charts
from lrtrain.report.page.render import Chart, Page, render
from lrtrain.report.write import draw_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lrtrain.comparison.evidence import Evidence
    from lrtrain.comparison.given import Values
    from lrtrain.comparison.judged import Judged


def write_given(found: Judged, title: str, output: Path) -> None:
    """Writes a page (.html) or a picture (.png, .svg) of one workload; raises UsageError for several of them."""
    if len(found.evidence) > 1:
        raise UsageError(
            f"--output {output} shows one workload, and there are {len(found.evidence)}: give a file for each of them"
        )
    ((name, evidence),) = found.evidence.items()
    values = found.values[name]
    finals = {label: np.array(list(each.values())) for label, each in values.items()}
    if output.suffix.lower() != ".html":
        draw_scores(evidence, finals, name or title, output)
        return
    page = Page(
        title=f"{len(evidence.rows)} labels in {title}",
        verdict=tuple(found.sentences[name]),
        explanation=(_explained(found, evidence),),
        table=found.tables[name].sorted_by(evidence.headline.name),
        charts=tuple(_charts(found, evidence, values, finals)),
        schedules=(),
        facts={"runs": str(sum(map(len, values.values())))},
    )
    output.write_text(render(page), encoding="utf-8")


def _charts(
    found: Judged, evidence: Evidence, values: Values, finals: dict[str, NDArray[np.float64]]
) -> Iterator[Chart]:
    places = {row.label: place for place, row in enumerate(evidence.rows)}
    yield charts.scores_chart(numbers.by_score(evidence), finals, places, evidence.headline, "")
    if found.paired:
        seeds = list(next(iter(values.values())))
        results = {label: [each[seed] for seed in seeds] for label, each in values.items()}
        yield charts.differences_chart(numbers.differences(evidence, results), evidence.headline)


def _explained(found: Judged, evidence: Evidence) -> str:
    against = f"each label was compared with {evidence.baseline}" if evidence.baseline else "every pair was compared"
    margin = max((pair.margin for pair in evidence.differences), default=0.0)
    beyond = f" by more than {evidence.headline.difference(margin)}{evidence.headline.points}" if margin else ""
    how = (
        "seed by seed, with a sign-flip permutation test of all pairs together (Westfall and Young)"
        if found.paired
        else "as independent runs, with Welch's test, corrected after Holm for the number of pairs"
    )
    return (
        f"The results were measured elsewhere; {evidence.headline.better} is better. For the verdict {against} {how}: "
        f"better is said where two differ{beyond} with p below {ALPHA}. All else is a tie: these results do not "
        "distinguish the two, which does not make them equal."
    )
