"""The loader against real distributions in a folder of their own: every way a plugin can be broken is one sentence."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lrtrain import EpochInfo, RunInfo, UsageError
from lrtrain.errors import OptionError, PluginError
from lrtrain.plugins.discovery import duplicates, find_plugin, find_plugins
from lrtrain.plugins.loading import activate, check_class, hooks_of, load_class
from lrtrain.plugins.observers import Observers
from tests.lab import announce, cli, process, refusal

HEAD = """
from __future__ import annotations
from dataclasses import dataclass
from pathlib import Path
from lrtrain import LearningRate, Schedule, ScheduleContext, Stop, hookimpl
Path(__file__).with_suffix(".imported").touch()
"""

GOOD = (
    HEAD
    + '''
@dataclass(frozen=True)
class Plugin:
    """One learning rate."""

    value: LearningRate = 0.5

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        return lambda step: self.value
'''
)

OBSERVER = (
    HEAD
    + '''
@dataclass(frozen=True)
class Plugin:
    """Says its name."""

    @hookimpl
    def on_epoch_end(self) -> Stop:
        return Stop(__name__)
'''
)


def plugin(body: str, decorator: str = "@dataclass(frozen=True)") -> str:
    """Returns a module whose class Plugin has that body."""
    return f"{HEAD}\n{decorator}\nclass Plugin:\n    '''A plugin.'''\n\n    {body}\n"


# What is wrong with the module, and what the sentence says after "plugin 'NAME' of test-NAME 1.0 ".
BROKEN = {
    "importerror": ("import no_such_module", "fails to import: ModuleNotFoundError: No module named 'no_such_module' "),
    "syntaxerror": ("class Plugin", "fails to import: SyntaxError: "),
    "exits": ("raise SystemExit(3)", "fails to import: SystemExit: 3 "),
    "silent": ("raise RuntimeError", "fails to import: RuntimeError "),
    "two-lines": ("raise ValueError('first\\nsecond')", "fails to import: ValueError: first"),
    "attribute": ("plugin = 1", "fails to import: AttributeError: module 'test_attribute' has no attribute 'Plugin' "),
    "function": ("def Plugin(): ...", "names <function Plugin at 0x"),
    "instance": (GOOD + "\nPlugin = Plugin()", "names Plugin(value=0.5): a plugin is a class with @dataclass(frozen"),
    "plain-class": (
        plugin("@hookimpl\n    def on_step(self): ...", ""),
        "a plugin is a class with @dataclass(frozen=T",
    ),
    "not-frozen": (plugin("pass", "@dataclass"), "is a dataclass that is not frozen: write @dataclass(frozen=True)"),
    "no-hook": (
        plugin("value: float = 1"),
        "implements no hook: mark a method with @hookimpl (the hooks are build_sch",
    ),
    "unmarked": (
        plugin("def build_schedule(self): ..."),
        "has a method build_schedule without @hookimpl, so it would never be called",
    ),
    "misspelt": (
        plugin("@hookimpl\n    def build_shedule(self): ..."),
        "has a hook 'build_shedule' that does not exist (did you mean 'build_schedule'?): the hooks are build_schedule,"
        " on_step, on_epoch_end",
    ),
    "formula": (
        plugin("@hookimpl\n    def build_schedule(self): ...\n    def formual(self, context): ..."),
        "has 'formual', which nothing reads (did you mean 'formula'?): rename it, or begin it with _",
    ),
    "traits": (
        plugin("trait = 1\n    @hookimpl\n    def build_schedule(self): ..."),
        "has 'trait', which nothing reads (did you mean 'traits'?): rename it, or begin it with _",
    ),
    "argument": (
        plugin("@hookimpl\n    def on_step(self, run, steps): ..."),
        "has 'steps' as an argument of on_step, which is called with run, step",
    ),
    "default": (
        plugin("@hookimpl\n    def on_step(self, step, every=10): ..."),
        "gives 'every' of on_step a default, which would never be used: remove it",
    ),
}


def test_a_method_whose_name_is_only_like_one_is_no_mistake(install_plugin: Callable[..., str]) -> None:
    source = """
@dataclass(frozen=True)
class Plugin:
    "Has methods of its own."
    def format(self): ...
    def trains(self): ...
    @hookimpl
    def on_epoch_end(self): ...
"""
    assert len(activate(["constant", install_plugin("formats", source)]).plugins) == 2


@dataclass(frozen=True)
class Site:
    """A folder of installed distributions."""

    folder: Path

    def install(self, name: str, source: str | None, *, distribution: str = "", version: str = "1.0") -> str:
        """Installs a plugin as pip would: a module (None: there is none) and its metadata; returns the name."""
        project = distribution or f"test-{name}"
        module = project.replace("-", "_")
        if source is not None:
            (self.folder / f"{module}.py").write_text(source, encoding="utf-8")
        # That of another test, which is gone.
        sys.modules.pop(module, None)
        announce(self.folder, project, f"{name} = {module}:Plugin", version=version, summary=f"about {name}")
        return name

    def imported(self) -> list[str]:
        """Returns the modules that any process has imported, without ``test_``."""
        return sorted(path.stem.removeprefix("test_") for path in self.folder.glob("*.imported"))

    def lrtrain(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs the real command, in a folder of its own, with what is installed here beside the rest."""
        work = self.folder.parent / "work"
        work.mkdir(exist_ok=True)
        return process(*arguments, cwd=work, **{"PYTHONPATH": str(self.folder)} | variables)

    def refused(self, *arguments: str) -> str:
        """Returns the sentence with which the command refuses, in this process; it leaves no file behind."""
        work = self.folder.parent / "work"
        work.mkdir()
        with contextlib.chdir(work):
            sentence = refusal(cli(*arguments))
        assert list(work.iterdir()) == []
        return sentence


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield Site(folder)
    for name, module in [*sys.modules.items()]:
        if str(folder) in str(getattr(module, "__file__", None)):
            del sys.modules[name]


@pytest.fixture
def alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Returns a site beside which nothing is installed."""
    only = importlib.metadata.Distribution.discover
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: only(path=[str(site.folder)]))
    return site


# -------------------------------------------------------------------------------------------------------- what is found


def test_a_plugin_is_described_by_its_metadata(site: Site) -> None:
    entry = find_plugin(site.install("good", GOOD, version="2.1"))
    assert (entry.name, entry.value, entry.origin()) == ("good", "test_good:Plugin", "test-good 2.1")
    assert entry.summary == "about good"
    assert site.imported() == []


@pytest.mark.parametrize("written", ["warm-up", "warm_up", "Warm.Up"])
@pytest.mark.parametrize("asked", ["warm-up", "warm_up", "WARM-UP"])
def test_dashes_and_underscores_are_equal(site: Site, written: str, asked: str) -> None:
    site.install(written, GOOD, distribution="test-warm")
    assert find_plugin(asked).name == "warm-up"
    assert activate([asked]).schedule_plugin().spec().name == "warm-up"


def test_an_unknown_plugin(alone: Site) -> None:
    alone.install("cosine", GOOD)
    alone.install("linear", GOOD)
    expected = r"no plugin 'cosin' is installed \(did you mean 'cosine'\?\); installed are cosine, linear; .* with pip"
    with pytest.raises(PluginError, match=expected):
        find_plugin("cosin")


def test_no_plugin_at_all(alone: Site) -> None:
    with pytest.raises(
        PluginError, match=r"no plugin 'sgdr' is installed, nor any other: pip install 'lrtrain\[all\]'"
    ):
        find_plugin("sgdr")
    assert find_plugins() == ()


def test_two_distributions_with_one_name(site: Site) -> None:
    site.install("twin", GOOD, distribution="test-left", version="1.5")
    site.install("twin", GOOD, distribution="test-right", version="0.2")
    assert duplicates(find_plugins()) == {"twin"}
    with pytest.raises(PluginError, match=r"'twin' is provided by test-left 1\.5 and test-right 0\.2: uninstall one"):
        activate(["twin"])
    assert site.imported() == []


def test_a_distribution_that_is_on_the_path_twice_is_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("good", GOOD)
    monkeypatch.syspath_prepend(str(site.folder))
    assert duplicates(find_plugins()) == frozenset()
    assert find_plugin("good").version == "1.0"


@pytest.mark.parametrize("damage", ["METADATA", "entry_points.txt"])
def test_damaged_metadata_harms_no_other(site: Site, damage: str) -> None:
    site.install("good", GOOD)
    site.install("damaged", GOOD)
    (site.folder / "test_damaged-1.0.dist-info" / damage).write_bytes(b"\xff\xfe\x00")
    names = [entry.name for entry in find_plugins()]
    assert "good" in names
    assert "damaged" not in names


@pytest.mark.parametrize(("metadata", "expected"), [
    ("Metadata-Version: 2.1\nName: Good-One\nVersion: 3\n", "Good-One"),
    ("Metadata-Version: 2.1\nname:good-one\nVersion: 3\n", "good-one"),
    ("Metadata-Version: 2.1\r\nName: good-one \r\nVersion: 3\r\n", "good-one"),
    ("Metadata-Version: 2.1\nVersion: 3\n\nName: of-the-description\n", None),
    ("", None),
])  # fmt: skip
def test_the_name_of_a_distribution_is_that_of_its_headers(site: Site, metadata: str, expected: str | None) -> None:
    site.install("good", GOOD)
    (site.folder / "test_good-1.0.dist-info" / "METADATA").write_text(metadata, encoding="utf-8", newline="")
    found = [entry for entry in find_plugins() if entry.value == "test_good:Plugin"]
    assert [(entry.distribution, entry.version) for entry in found] == ([(expected, "3")] if expected else [])


# ------------------------------------------------------------------------------------------------------- what is broken


@pytest.mark.parametrize("name", BROKEN)
def test_broken_and_named(site: Site, name: str) -> None:
    source, sentence = BROKEN[name]
    site.install(name, source)
    with pytest.raises(PluginError) as caught:
        load_class(find_plugin(name))
    assert str(caught.value).startswith(f"plugin '{name}' of test-{name} 1.0 ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [*BROKEN, "no-module"])
def test_broken_and_named_on_the_command_line(site: Site, name: str) -> None:
    source, sentence = BROKEN.get(
        name, (None, "fails to import: ModuleNotFoundError: No module named 'test_no_module'")
    )
    site.install(name, source)
    assert sentence.strip() in site.refused("--plugin", name)


def test_broken_and_not_named(site: Site) -> None:
    for name, (source, _) in BROKEN.items():
        site.install(name, HEAD + source.removeprefix(HEAD))
    site.install("good", GOOD)
    done = site.lrtrain("plot", "--plugin", "good(value=0.25)", "--steps", "4")
    assert (done.returncode, done.stderr) == (0, "")
    assert "first 0.25, highest 0.25, last 0.25" in done.stdout
    assert site.imported() == ["good"]


def test_an_import_that_fails_shows_its_traceback_on_request(site: Site) -> None:
    site.install("importerror", "import no_such_module")
    done = site.lrtrain("--plugin", "importerror", LRTRAIN_TRACEBACK="1")
    assert done.returncode == 1
    assert 'test_importerror.py", line 1' in done.stderr


def test_a_hook_of_a_base_class_counts(site: Site) -> None:
    site.install("child", GOOD.replace("class Plugin", "class Parent") + "\nclass Plugin(Parent): ...\n")
    assert hooks_of(load_class(find_plugin("child"))) == ("build_schedule",)


def test_what_the_checker_says_of_any_class() -> None:
    with pytest.raises(PluginError, match=r"^it names 3: a plugin is a class"):
        check_class(3, "it")


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        ("ValueError('low must be below high')", "plugin 'strict': low must be below high"),
        ("KeyError('low')", "plugin 'strict' fails with these options: KeyError: 'low'"),
    ],
)
def test_options_that_the_plugin_itself_refuses(site: Site, raised: str, sentence: str) -> None:
    site.install("strict", f"{GOOD}\n    def __post_init__(self):\n        raise {raised}\n")
    assert site.refused("--plugin", "strict") == sentence


def test_an_option_that_must_be_given(site: Site) -> None:
    site.install("needy", GOOD.replace("value: LearningRate = 0.5", "value: float"))
    assert site.refused("--plugin", "needy") == "plugin 'needy' needs its option 'value': give value=..."


# ------------------------------------------------------------------------------------------------------ several of them


def test_two_that_build_a_schedule(site: Site) -> None:
    site.install("left", GOOD)
    site.install("right", GOOD)
    said = site.refused("--plugin", "left", "--plugin", "right")
    assert said == "plugins left and right both build a schedule, and a run has one: name only one of them"


def test_none_that_builds_a_schedule(site: Site) -> None:
    site.install("watcher", OBSERVER)
    assert (
        site.refused("--plugin", "watcher")
        == "no plugin named builds a schedule (watcher): add one, as in --plugin sgdr"
    )
    with pytest.raises(PluginError, match=r"no plugin named builds a schedule \(none was named\)"):
        activate([]).schedule_plugin()


def test_one_named_twice(site: Site) -> None:
    site.install("good-one", GOOD)
    with pytest.raises(OptionError, match="plugin 'good-one' is named twice: name it once, with all its options"):
        activate(["good-one", "good_one(value=1)"])


def test_hooks_are_called_in_the_order_of_the_command_line(site: Site) -> None:
    for name in ("one", "two", "three"):
        site.install(name, OBSERVER)
    active = activate(["two", "three", "one"])
    answers = active.manager.hook.on_epoch_end(run=None, epoch=None, history=())
    assert [stop.reason for stop in answers] == ["test_two", "test_three", "test_one"]
    assert active.manager.hook.on_step.get_hookimpls() == []


def test_observers_whose_options_cannot_be_hashed(site: Site) -> None:
    table = "table: dict[str, float] = __import__('dataclasses').field(default_factory=dict)"
    site.install("one", OBSERVER.replace("    @hookimpl", f"    {table}\n\n    @hookimpl"))
    site.install("two", OBSERVER)
    observers = Observers(activate(["one(table={a: 1})", "two"]))
    info = EpochInfo(0, 10, 1.0, 1.0, 0.5, 0.1, 1.0)
    run = RunInfo(site.folder, {}, 10, 10, 1, np.full(10, 0.1, np.float32))
    assert observers.epoch_end(run, info, [info]).stop == "one: test_one"


def test_one_class_under_two_names(site: Site) -> None:
    site.install("left", GOOD)
    (site.folder / "test_left-1.0.dist-info" / "entry_points.txt").write_text(
        "[lrtrain.plugins]\nleft = test_left:Plugin\nalias = test_left:Plugin\n", encoding="utf-8"
    )
    with pytest.raises(PluginError, match="plugins left and alias both build a schedule"):
        activate(["left", "alias"]).schedule_plugin()


def test_each_run_has_a_manager_of_its_own(site: Site) -> None:
    site.install("good", GOOD)
    first, second = activate(["good"]), activate(["good(value=0.25)"])
    assert first.manager is not second.manager
    assert [each.schedule_plugin().instance.value for each in (first, second)] == [0.5, 0.25]


def test_hook_calls_are_shown_on_request(site: Site) -> None:
    site.install("good", GOOD)
    done = site.lrtrain("plot", "--plugin", "good", "--steps", "4", LRTRAIN_TRACE_PLUGINS="1")
    assert done.returncode == 0
    assert "build_schedule" in done.stderr


def test_every_refusal_is_a_usage_error() -> None:
    assert issubclass(PluginError, UsageError)
    assert PluginError.exit_code == 2


# ----------------------------------------------------------------------------------------------------- the two listings


def test_listing_imports_nothing_and_marks_duplicates(site: Site) -> None:
    site.install("good", GOOD)
    site.install("twin", GOOD, distribution="test-left")
    site.install("twin", HEAD + "raise SystemExit(3)", distribution="test-right")
    done = site.lrtrain("plugins", "list")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["good", "test-good", "1.0", "about", "good"] in lines
    assert ["twin", "(duplicate)", "test-right", "1.0", "about", "twin"] in lines
    assert site.imported() == []


def test_listing_as_json(site: Site) -> None:
    site.install("good", GOOD)
    rows = {row["name"]: row for row in json.loads(site.lrtrain("plugins", "list", "--json").stdout)}
    assert rows["good"] == {
        "name": "good",
        "distribution": "test-good",
        "version": "1.0",
        "summary": "about good",
        "duplicate": False,
    }
    assert site.imported() == []


def test_listing_with_load_shows_hooks_and_what_is_broken(site: Site) -> None:
    site.install("good", GOOD)
    site.install("watcher", OBSERVER)
    for name, (source, _) in BROKEN.items():
        site.install(name, source)
    done = site.lrtrain("plugins", "list", "--load", "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 0
    assert (rows["good"]["hooks"], rows["good"]["error"]) == (["build_schedule"], None)
    assert rows["watcher"]["hooks"] == ["on_epoch_end"]
    for name, (_, sentence) in BROKEN.items():
        assert rows[name]["hooks"] == []
        assert sentence.strip() in rows[name]["error"]
    text = site.lrtrain("plugins", "list", "--load").stdout
    assert any(line.split()[:4] == ["watcher", "test-watcher", "1.0", "on_epoch_end"] for line in text.splitlines())
    assert any(line.startswith("misspelt ") and "(broken)" in line for line in text.splitlines())


def test_showing_one(site: Site) -> None:
    site.install("good", GOOD)
    site.install("bad", "import no_such_module")
    shown = json.loads(site.lrtrain("plugins", "show", "good", "--json").stdout)
    assert shown["hooks"] == ["build_schedule"]
    assert shown["options"] == [{"name": "value", "type": "number >= 0", "default": "0.5", "doc": "learning rate"}]
    assert shown["curve"] == {"steps": 2350, "learning_rates": [0.5] * 2350}
    assert "fails to import" in refusal(site.lrtrain("plugins", "show", "bad"))
    assert "did you mean 'good'?" in refusal(site.lrtrain("plugins", "show", "goood"))


def test_an_observer_is_shown_without_a_curve(site: Site) -> None:
    site.install("watcher", OBSERVER)
    shown = json.loads(site.lrtrain("plugins", "show", "watcher", "--json").stdout)
    assert (shown["hooks"], shown["curve"], shown["options"]) == (["on_epoch_end"], None, [])
    assert site.lrtrain("plugins", "show", "watcher").returncode == 0
