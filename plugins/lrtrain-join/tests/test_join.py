"""Join with parts that this file brings itself, as an installed distribution would."""

import importlib
import sys
from typing import ClassVar

import jax
import numpy as np
import pytest
from lrtrain_join import _joined

import lrtrain
from lrtrain.testing import SchedulePluginSuite, table

PARTS = '''
from dataclasses import dataclass

from lrtrain import LearningRate, Schedule, ScheduleContext, hookimpl

@dataclass(frozen=True)
class Level:
    """One value."""

    value: LearningRate = 1.0

    @hookimpl
    def build_schedule(self) -> Schedule:
        return lambda count: self.value


@dataclass(frozen=True)
class Ramp:
    """The share of its own run that is done."""

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        return lambda count: count / context.total_steps


@dataclass(frozen=True)
class Plain:
    """The count, in plain Python that cannot be traced and refuses a step before its beginning."""

    @hookimpl
    def build_schedule(self) -> Schedule:
        return lambda count: [float(n) for n in range(1000)][count]
'''


@pytest.fixture(autouse=True)
def parts(tmp_path, monkeypatch):
    """Installs three tiny schedules for one test."""
    (tmp_path / "joined_parts.py").write_text(PARTS)
    info = tmp_path / "joined_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: joined-parts\nVersion: 1.0\n")
    points = "level = joined_parts:Level\nramp = joined_parts:Ramp\nplain = joined_parts:Plain\n"
    (info / "entry_points.txt").write_text(f"[lrtrain.plugins]\n{points}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "joined_parts", raising=False)
    importlib.invalidate_caches()
    yield
    sys.modules.pop("joined_parts", None)


class TestJoin(SchedulePluginSuite):
    plugin = "join"
    specs = ("join(schedules=[ramp, level(value=2)], boundaries=[29%])",)
    overrides: ClassVar = {"test_examples_run": "the example joins constants, which are another package"}

    def test_examples_run(self):
        """Its examples run where the schedules that they join are installed."""
        pytest.importorskip("lrtrain_constant", reason="lrtrain-constant is not installed")
        super().test_examples_run()


def test_each_counts_from_its_own_beginning_to_its_own_end():
    got = table("join(schedules=[ramp, level(value=7), ramp], boundaries=[4, 60%])", 10)
    np.testing.assert_allclose(got, [0, 1 / 4, 2 / 4, 3 / 4, 7, 7, 0, 1 / 4, 2 / 4, 3 / 4])


def test_boundaries_in_epochs():
    np.testing.assert_array_equal(
        table("join(schedules=[ramp, level], boundaries=[1ep])", 10, 5),
        table("join(schedules=[ramp, level], boundaries=[5])", 10),
    )


def test_one_schedule_alone():
    np.testing.assert_allclose(table("join(schedules=[ramp], boundaries=[])", 10), np.arange(10) / 10)


def test_a_boundary_after_the_end_makes_the_run_the_beginning_of_a_longer_one():
    options = "schedules=[ramp, level(value=3), ramp], boundaries=[8, 20]"
    np.testing.assert_array_equal(table(f"join({options})", 10), table(f"join({options})", 30)[:10])


def test_plain_python_parts_and_arrays_of_counts():
    spec = "join(schedules=[level(value=9), plain], boundaries=[4])"
    rate = lrtrain.schedule(spec, total_steps=8)
    np.testing.assert_array_equal(rate(np.arange(8, dtype=np.uint32)), [9, 9, 9, 9, 0, 1, 2, 3])
    np.testing.assert_array_equal([float(rate(count)) for count in range(8)], [9, 9, 9, 9, 0, 1, 2, 3])


def test_no_part_is_asked_for_a_step_before_its_beginning():
    seen = []

    def spy(count):
        jax.debug.callback(lambda each: seen.append(int(each)), count)
        return count * 0.0

    jax.vmap(_joined([spy, spy], [0, 5]))(np.arange(10)).block_until_ready()
    jax.effects_barrier()
    assert sorted(set(seen)) == list(range(10))


def test_join_in_join():
    inner = "join(schedules=[level(value=1), level(value=2)], boundaries=[50%])"
    got = table(f"join(schedules=[{inner}, level(value=3)], boundaries=[8])", 10)
    np.testing.assert_array_equal(got, [1, 1, 1, 1, 2, 2, 2, 2, 3, 3])


@pytest.mark.parametrize(("options", "message"), [
    ("schedules=[], boundaries=[]", r"schedules=\[\] has no schedule: give at least one"),
    ("schedules=[level, ramp], boundaries=[]", "are 0 for 2 schedules: there is one boundary between each two, so 1"),
    ("schedules=[level, ramp], boundaries=[2, 4]", "are 2 for 2 schedules: there is one boundary between .*, so 1"),
    ("schedules=[level, ramp, level], boundaries=[6, 3]", "3 is step 3, not after the schedule before it .* step 6"),
    ("schedules=[level, ramp, level], boundaries=[50%, 5]", "5 is step 5, not after .* step 5: give them in rising"),
    ("schedules=[level, ramp], boundaries=[0]", "0 is step 0, not after the schedule before it begins at step 0"),
    ("schedules=[level, ramp], boundaries=[1%]", "1% is step 0, .* a run long enough to keep them apart"),
    ("schedules=[level, rmp], boundaries=[5]", r"no plugin 'rmp' is installed \(did you mean 'ramp'\?\)"),
    ("schedules=[level, ramp(value=1)], boundaries=[5]", "plugin 'ramp' has no option 'value'"),
    ("schedules=[level(value=-1)], boundaries=[]", "plugin 'level': value=-1 is refused"),
    ("schedules=level, boundaries=[]", "schedules=level is refused: expected list of spec"),
])  # fmt: skip
def test_refused(options, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        table(f"join({options})", 10)
