"""A jaxlib that computes wrong numbers on CPU, as 0.10.2 does (jax-ml/jax#39103), is found before anything trains."""

from __future__ import annotations

from pathlib import Path

import jax
import pytest

import lrtrain
from lrtrain.engine import canary


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", str(tmp_path / "cache"))


def test_this_jaxlib_computes_right() -> None:
    assert canary.find_problem() is None


def test_one_look_for_each_version(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = []
    monkeypatch.setattr(canary, "_sum", lambda: sums.append(1) or float(2**25))
    canary.check_jaxlib(jax.devices())
    canary.check_jaxlib(jax.devices())
    assert len(sums) == 1
    assert canary.passed_file().is_file()
    monkeypatch.setattr(canary, "_version", lambda: "99.1")
    canary.check_jaxlib(jax.devices())
    assert len(sums) == 2


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(canary, "_sum", lambda: float(2**25))
    canary.check_jaxlib(jax.devices())


def test_wrong_numbers_stop_a_run_before_anything_is_written(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "_sum", lambda: 33292288.0)
    monkeypatch.setattr(canary, "_version", lambda: "0.10.2")
    with pytest.raises(
        lrtrain.UsageError, match=r"jaxlib 0.10.2 computes wrong .* 33554432 ones is 33292288; run `pip"
    ):
        lrtrain.train("constant", dataset="tiny", data_dir=tiny, run_dir=tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()
    assert not canary.passed_file().exists()
