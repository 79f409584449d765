"""docs/reference/parity.md is the table of the pairs, and each of our specs in it can be built."""

from __future__ import annotations

import pytest

from tests.parity.pairs import LENGTHS, LIBRARIES, PAIRS, Pair
from tests.parity.table import PAGE, page
from tests.schedule_examples import values_of


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it again: python -m tests.parity.table"


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.theirs[:60])
def test_our_spec_can_be_built(pair: Pair) -> None:
    assert pair.library in LIBRARIES
    assert "<" not in pair.spec(LENGTHS[0])
    assert 0 < values_of(pair.spec(LENGTHS[0]), LENGTHS[0]).max() <= 1
