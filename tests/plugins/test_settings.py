"""``--set NAME=VALUE`` and ``--set PLUGIN.NAME=VALUE``."""

from __future__ import annotations

import pytest

from lrtrain import Spec
from lrtrain.errors import OptionError, SpecError
from lrtrain.plugins.settings import apply_settings

SGDR, WATCH = Spec("sgdr", {"cycles": 4}), Spec("watch_loss")


def applied(*settings: str, override: bool = False) -> list[str]:
    return list(map(str, apply_settings([SGDR, WATCH], settings, ["sgdr"], override=override)))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], ["sgdr(cycles=4)", "watch_loss"]),
        (["peak_value=1e-3"], ["sgdr(cycles=4, peak_value=0.001)", "watch_loss"]),
        (["peak-value = 1e-3"], ["sgdr(cycles=4, peak_value=0.001)", "watch_loss"]),
        (["sgdr.peak_value=[1, 2]"], ["sgdr(cycles=4, peak_value=[1, 2])", "watch_loss"]),
        (["watch-loss.limit=25%"], ["sgdr(cycles=4)", "watch_loss(limit=25%)"]),
        (["WATCH_LOSS.limit='='"], ["sgdr(cycles=4)", 'watch_loss(limit="=")']),
        (["a=1", "watch-loss.a=2", "b={25%: x}"], ["sgdr(cycles=4, a=1, b={25%: x})", "watch_loss(a=2)"]),
        (["a=constant(value=1)"], ["sgdr(cycles=4, a=constant(value=1))", "watch_loss"]),
    ],
)
def test_applied(settings: list[str], expected: list[str]) -> None:
    assert applied(*settings) == expected


def test_the_specs_given_are_left_as_they_are() -> None:
    applied("peak_value=1")
    assert Spec("sgdr", {"cycles": 4}) == SGDR


def test_override_replaces_what_the_spec_says() -> None:
    assert applied("cycles=5", override=True) == ["sgdr(cycles=5)", "watch_loss"]


@pytest.mark.parametrize("setting", ["cycles", "", "=4", " =4", ".cycles=4", "sgdr.=4"])
def test_not_a_setting(setting: str) -> None:
    with pytest.raises(SpecError) as caught:
        applied(setting)
    assert str(caught.value) == f"--set {setting} cannot be read: write --set NAME=VALUE or --set PLUGIN.NAME=VALUE"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("a=", "cannot read '': expected a value at character 1, found the end"),
        ("a=[1", "cannot read '[1': expected ',' or ']' in a list at character 3, found the end"),
        ("a=1 2", "cannot read '1 2': expected the end at character 3, found '2'"),
        ("a b=1", "'a b' is not the name of an option: letters, digits and _ are"),
    ],
)
def test_a_setting_that_cannot_be_read(setting: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        applied(setting)
    assert str(caught.value) == message


@pytest.mark.parametrize("settings", [["cycles=5"], ["sgdr.cycles=5"], ["b=1", "b=2"], ["b-c=1", "sgdr.b_c=2"]])
def test_given_twice(settings: list[str]) -> None:
    option = settings[-1].partition("=")[0].rpartition(".")[2].replace("-", "_")
    with pytest.raises(OptionError) as caught:
        applied(*settings)
    assert str(caught.value) == f"--set {settings[-1]}: {option} of 'sgdr' is given twice"


def test_given_twice_counts_with_override_too() -> None:
    with pytest.raises(OptionError, match=r"^--set cycles=6: cycles of 'sgdr' is given twice$"):
        applied("cycles=5", "cycles=6", override=True)


def test_a_plugin_that_is_not_named() -> None:
    with pytest.raises(OptionError) as caught:
        applied("sgd.cycles=5")
    message = "--set sgd.cycles=5: plugin 'sgd' is not named (did you mean 'sgdr'?); add --plugin sgd"
    assert str(caught.value) == message


@pytest.mark.parametrize("builders", [[], ["sgdr", "watch-loss"]])
def test_which_plugin_is_meant(builders: list[str]) -> None:
    with pytest.raises(OptionError) as caught:
        apply_settings([SGDR, WATCH], ["limit=5"], builders)
    assert str(caught.value) == "--set limit=5: which plugin is meant? write --set PLUGIN.limit=5"
