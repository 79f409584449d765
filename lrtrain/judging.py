"""`verdict`: what results that were measured anywhere support."""

from __future__ import annotations

from typing import Any

from lrtrain.comparison.given import Columns, rows_of_frame
from lrtrain.comparison.judged import Judged, verdict_of_rows


def verdict(  # noqa: PLR0913  # a frame has columns of any name
    frame: Any,
    *,
    label: str = "label",
    seed: str | None = "seed",
    value: str = "value",
    workload: str | None = None,
    better: str | None = None,
    baseline: str | None = None,
    margin: float = 0.0,
) -> Judged:
    """Says what results support that were measured anywhere, by the statistics of `lrtrain.compare`.

    Args:
      frame: a data frame of pandas or polars, or a mapping of columns, with a row for each run.
      label: the column that says what was compared, such as the name of a schedule.
      seed: the column with the seed: results of one seed are compared with each other. None for independent runs, which
        are compared with Welch's test.
      value: the column with the result.
      workload: the column that says on what it was measured; each of them is judged alone. None for one.
      better: ``"higher"`` or ``"lower"``; None decides by the name of the column, as ``loss`` is better lower.
      baseline: the label that the others are compared with, chosen before the results were seen; None compares all.
      margin: the largest difference that is a tie, in the unit of the values, decided before the results were seen.

    Returns:
      The verdict, with the evidence of each workload.

    Raises:
      UsageError: the results cannot be compared; the sentence says where.

    Example:
      ```python
      import lrtrain

      accuracies = {"label": ["a", "a", "b", "b"], "seed": [0, 1, 0, 1], "value": [0.91, 0.92, 0.90, 0.91]}
      print(lrtrain.verdict(accuracies))
      ```

    Source:
      Westfall and Young, "Resampling-Based Multiple Testing", Wiley 1993.
    """
    columns = Columns(label, seed, value, workload)
    return verdict_of_rows(rows_of_frame(frame), columns, better=better, baseline=baseline, margin=margin)
