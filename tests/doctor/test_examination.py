"""The examination of an installation: what is right, and each fault with its cure."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import Result

from lrtrain.doctor import examination
from lrtrain.doctor.examination import Finding
from lrtrain.engine import canary
from lrtrain.plugins.discovery import OPTIMIZERS, WORKLOADS
from tests.lab import announce, cli


def doctor(*arguments: str) -> Result:
    return cli("doctor", *arguments)


def by_subject(findings: object) -> dict[str, Finding]:
    assert not isinstance(findings, Finding)
    return {finding.subject: finding for finding in findings}  # type: ignore[attr-defined]


def test_a_sound_installation_in_a_process_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lrtrain", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {each["subject"]: each for each in json.loads(done.stdout)}
    assert {
        "Python",
        "lrtrain",
        "packages",
        "environment",
        "devices",
        "numbers",
        "plugins",
        "workloads",
        "cache",
    } <= set(found)
    assert not any(each["health"] == "fault" for each in found.values())
    assert importlib.metadata.version("jaxlib") in found["packages"]["detail"]
    assert list(tmp_path.iterdir()) == [], "nothing is written"


def test_one_screen_of_lines_and_a_verdict() -> None:
    result = doctor()
    assert result.exit_code == 0, result.output
    assert result.output.endswith("\nno fault\n")
    assert len(result.output.splitlines()) <= 30


def test_a_broken_plugin_and_two_of_one_name(install_plugin: Callable[..., str]) -> None:
    install_plugin("broken-one", "import there_is_no_such_module\n")
    for distribution in ("first", "second"):
        install_plugin("twin", "x = 1\n", distribution=distribution)
    found = list(examination.examine_plugins())
    broken = by_subject(found)["plugin broken-one"]
    assert broken.health == "fault"
    assert "No module named 'there_is_no_such_module'" in broken.detail
    assert "lrtrain plugins uninstall test-broken-one" in str(broken.cure)
    assert any(each.subject == "plugin twin" and "also provided by second 1.0" in each.detail for each in found)
    result = doctor()
    assert result.exit_code == 1, result.output
    assert "FAULT" in result.output


def test_a_plugin_that_is_made_for_another_lrtrain(install_plugin: Callable[..., str], tmp_path: Path) -> None:
    source = "@dataclass(frozen=True)\nclass Plugin:\n    @hookimpl\n    def on_step(self, step): ...\n"
    install_plugin("watch", source)
    (metadata,) = (tmp_path / "site").glob("*.dist-info/METADATA")
    metadata.write_text(metadata.read_text() + "Requires-Dist: lrtrain>=9\n")
    (found,) = examination.examine_plugins()
    assert (found.subject, found.health) == ("plugin watch", "fault")
    assert "needs lrtrain>=9, and this is lrtrain" in found.detail


BROKEN = """
import there_is_no_such_module
"""
NO_WORKLOAD = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Cats:
    x: int = 1
"""
NO_FUNCTION = """
import optax

def good(decay: float = 0.9): return optax.trace(decay)

number = 3
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Returns a function that installs a distribution with entries of a group, as pip would."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(project: str, source: str, group: str, *points: str) -> None:
        module = project.replace("-", "_")
        (site / f"{module}.py").write_text(source, encoding="utf-8")
        announce(site, project, "\n".join(each.format(module) for each in points), group=group)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def test_workloads_that_cannot_be_used(install: Callable[..., None]) -> None:
    (fine,) = examination.examine_workloads()
    assert (fine.subject, fine.health) == ("workloads", "ok")
    install("test-dogs", BROKEN, WORKLOADS, "dogs = {}:Dogs")
    install("test-cats", NO_WORKLOAD, WORKLOADS, "cats = {}:Cats")
    found = by_subject(examination.examine_workloads())
    assert set(found) == {"workload dogs", "workload cats"}
    assert {each.health for each in found.values()} == {"fault"}
    assert "No module named 'there_is_no_such_module'" in found["workload dogs"].detail
    assert "is not derived from lrtrain.Workload" in found["workload cats"].detail
    assert "lrtrain plugins uninstall test-cats" in str(found["workload cats"].cure)
    assert doctor().exit_code == 1


def test_optimizers_that_cannot_be_used(install: Callable[..., None]) -> None:
    assert list(examination.examine_optimizers()) == [], "no package provides one"
    install("test-good", NO_FUNCTION, OPTIMIZERS, "good = {}:good")
    assert [each.detail for each in examination.examine_optimizers()] == ["1 installed, and each can be loaded"]
    install("test-bad", NO_FUNCTION, OPTIMIZERS, "number = {}:number", "muon = {}:good", "absent = {}:nothing")
    found = by_subject(examination.examine_optimizers())
    assert set(found) == {"optimizer number", "optimizer muon", "optimizer absent"}
    assert "is 3, and no function that returns an optimizer" in found["optimizer number"].detail
    assert "is provided by optax" in found["optimizer muon"].detail
    assert "fails to import" in found["optimizer absent"].detail
    assert "lrtrain plugins uninstall test-bad" in str(found["optimizer absent"].cure)


@pytest.mark.parametrize(("versions", "subject", "cure"), [
    ({"jax": "0.10.2"}, "jax", "pip install 'jax"),
    ({"numpy": "1.26"}, "numpy", "pip install 'numpy>=2.1'"),
    ({"optax": None}, "optax", "pip install 'optax>="),
    ({"plotly": None}, "extra compare", "pip install 'lrtrain[compare]'"),
    ({"tensorflow-datasets": None}, "extra tfds", "pip install 'lrtrain[tfds]'"),
])  # fmt: skip
def test_packages_that_do_not_fit(
    versions: dict[str, str | None], subject: str, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        found = versions.get(name, real(name))
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = by_subject(examination.examine_packages())[subject]
    assert found.health == ("note" if subject.startswith("extra") else "fault")
    assert str(found.cure).startswith(cure)


def test_a_miscompiling_jaxlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "_sum", lambda: 1.0)
    (found,) = examination.examine_numbers()
    assert found.health == "fault"
    assert "computes wrong numbers" in found.detail
    assert str(found.cure).startswith("run `pip install")


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", str(tmp_path / "file"))
    found = by_subject(examination.examine_cache())["cache"]
    assert (found.health, found.cure) == ("fault", "set LRTRAIN_CACHE_DIR to a directory that can be written")


def test_what_the_cache_holds_and_the_room_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "arrays" / "deep").mkdir(parents=True)
    (tmp_path / "arrays" / "deep" / "a").write_bytes(b"0" * 3_000_000)
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(examination.shutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    found = by_subject(examination.examine_cache())
    assert "arrays 3 MB" in found["cache"].detail
    assert found["room for the cache"].health == "fault"
    assert found["room for the cache"].detail.startswith("5 MB free")


def test_an_examination_that_fails_is_a_fault_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def examine_luck() -> list[Finding]:
        raise ValueError("none")

    monkeypatch.setattr(examination, "_EXAMINATIONS", (examine_luck, examination.examine_python))
    luck, python = examination.examine()
    assert (luck.subject, luck.health) == ("luck", "fault")
    assert "ValueError: none" in luck.detail
    assert python.health == "ok"
