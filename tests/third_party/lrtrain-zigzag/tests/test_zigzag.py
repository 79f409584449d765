import pytest

import lrtrain


def test_two_cycles():
    rate = lrtrain.schedule("zigzag(low_value=0, high_value=1)", total_steps=8)
    assert [float(rate(step)) for step in range(8)] == [0, 0.5, 1, 0.5] * 2


def test_more_cycles_than_the_run_has_room_for():
    with pytest.raises(lrtrain.ScheduleError, match=r"cycles=5 does not fit into a run of 8 steps.* at most 4"):
        lrtrain.schedule("zigzag(cycles=5)", total_steps=8)
