"""What the evidence of a comparison supports, in sentences that a reader cannot take for more."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lrtrain.comparison.sign_flips import fewest_seeds, smallest_p
from lrtrain.comparison.statistics import ALPHA, PairedDifference

if TYPE_CHECKING:
    from lrtrain.comparison.evidence import Evidence
    from lrtrain.workloads.headline import Headline

# More of them are one sentence, without their intervals.
_MOST_TIES = 8


def verdict(evidence: Evidence) -> list[str]:
    """Returns what the evidence supports, in sentences, the most important first."""
    if not evidence.differences:
        return [_of_no_pairs(evidence)]
    claims = [pair for pair in evidence.differences if pair.verdict != "tie"]
    ties = [pair for pair in evidence.differences if pair.verdict == "tie"]
    return [
        *_of_the_edges(evidence),
        *_of_few_seeds(evidence),
        *_of_the_leaders(evidence),
        *_of_failures(evidence),
        *_of_untuned(evidence),
        *(_claim(evidence, pair) for pair in claims),
        *_of_ties(evidence, ties),
    ]


def evidence_as_json(evidence: Evidence) -> dict[str, Any]:
    """Returns the evidence and its verdict as JSON holds them."""
    return {**evidence.to_json(), "verdict": verdict(evidence)}


def _of_no_pairs(evidence: Evidence) -> str:
    if max(row.score.n for row in evidence.rows) == 1:
        return "Each schedule was trained once on one seed: this repeats a listing and says nothing of which is better."
    if evidence.baseline and evidence.row(evidence.baseline).problem:
        return f"No pair could be tested, because {evidence.baseline}, the reference, has no result."
    return "No pair could be tested, because fewer than two schedules have results."


def _of_the_edges(evidence: Evidence) -> Iterator[str]:
    """The best rate of such a schedule may be beyond what was tried: nothing that follows is about its best."""
    if labels := [row.label for row in evidence.rows if row.on_edge]:
        its = "its" if len(labels) == 1 else "their"
        yield (
            f"The best learning rate of {_listed(labels)} was the last that was tried, so {its} results may not be "
            f"{its} best."
        )


def _of_few_seeds(evidence: Evidence) -> Iterator[str]:
    if evidence.enough:
        return
    seeds = max(row.score.n for row in evidence.rows)
    yield (
        f"With {seeds} seeds no difference can be found, whatever it is: the smallest p that they can give is "
        f"{smallest_p(seeds):.2g}. {fewest_seeds(ALPHA)} seeds could."
    )


def _of_the_leaders(evidence: Evidence) -> Iterator[str]:
    leaders, pairs = evidence.leaders, evidence.differences
    if not evidence.enough or not leaders:
        return
    if len(leaders) > 1:
        tested = {frozenset((pair.first, pair.second)) for pair in pairs}
        untested = any(frozenset(pair) not in tested for pair in itertools.combinations(leaders, 2))
        which = ", not all of which were compared with one another" if untested else ""
        yield f"Nothing was found to be better than {_listed(leaders, 'or')}{which}: that does not make them equal."
    elif worse := [_worse(pair) for pair in pairs if _better(pair) == leaders[0]]:
        yield f"{leaders[0]} is better than {_listed(worse)}."


def _better(pair: PairedDifference) -> str | None:
    return {"better": pair.first, "worse": pair.second}.get(pair.verdict)


def _worse(pair: PairedDifference) -> str:
    return pair.second if pair.verdict == "better" else pair.first


def _of_failures(evidence: Evidence) -> Iterator[str]:
    for row in evidence.rows:
        score = row.score
        if score.diverged:
            many = "All" if score.diverged == score.n else f"{score.diverged} of the"
            yield f"{many} {score.n} runs of {row.label} diverged or failed: each counts as the result of a guess."
        if score.collapsed:
            yield (
                f"{score.collapsed} of the {score.n} runs of {row.label} ended no better than a guess, the same answer "
                "for all examples."
            )


def _of_untuned(evidence: Evidence) -> Iterator[str]:
    if labels := [row.label for row in evidence.rows if math.isnan(row.lost)]:
        yield (
            f"Too few learning rates were tried to know how near {_listed(labels)} {_is(labels)} to the best one: a "
            "difference may be that of the learning rates."
        )


def _is(labels: Sequence[str]) -> str:
    return "is" if len(labels) == 1 else "are"


def _claim(evidence: Evidence, pair: PairedDifference) -> str:
    headline, better, worse = evidence.headline, _better(pair), _worse(pair)
    if evidence.row(worse).problem:
        return f"{better} is better than {worse}, none of whose runs has a result."
    # By how much the better one is better, whichever way that is.
    sign = headline.sign if pair.verdict == "better" else -headline.sign
    low, high = map(headline.difference, sorted((sign * pair.low, sign * pair.high)))
    return (
        f"{better} is better than {worse} by {headline.amount(sign * pair.mean)} (95% interval {low} to {high}, "
        f"corrected p {pair.p_adjusted:.2g}, {_runs(evidence, pair)})."
    )


def _runs(evidence: Evidence, pair: PairedDifference) -> str:
    if not evidence.paired:
        return f"{pair.n} runs of each or more"
    return f"{pair.n} seed{'s' * (pair.n != 1)}"


def _of_ties(evidence: Evidence, ties: Sequence[PairedDifference]) -> Iterator[str]:
    if len(ties) > _MOST_TIES:
        names = (f"{pair.first} from {pair.second}" for pair in ties)
        yield f"Not distinguished: {', '.join(names)}. The table has their differences with the intervals."
        return
    yield from (_tie(evidence, pair) for pair in ties)


def _tie(evidence: Evidence, pair: PairedDifference) -> str:
    headline = evidence.headline
    mean = f"{headline.difference(pair.mean, '+')}{headline.points or f' of {headline.name}'}"
    interval = ""
    if math.isfinite(pair.low):
        interval = f"95% interval {headline.difference(pair.low, '+')} to {headline.difference(pair.high, '+')}, "
    margin = f", and up to {headline.difference(pair.margin)} counts as a tie" if pair.margin > 0 else ""
    return (
        f"{pair.first} and {pair.second} were not distinguished: {pair.first} less {pair.second} is {mean} "
        f"({interval}{_runs(evidence, pair)}){margin}{_found(headline, pair)}."
    )


def _found(headline: Headline, pair: PairedDifference) -> str:
    """Returns how large a difference has to be to be found, where that is known."""
    if math.isnan(pair.detectable):
        return ""
    if math.isinf(pair.detectable):
        return "; no difference could have been found"
    return f"; a difference of {headline.difference(pair.detectable)} is found in four of five such comparisons"


def _listed(labels: Sequence[str], word: str = "and") -> str:
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} {word} {labels[-1]}"
