"""Every command and every block of the pages runs, or says above itself why it does not.

A comment above a block says what the test does with it: ``<!-- test: not run: REASON -->``,
``<!-- test: fails with 2 -->``, or ``<!-- test: WRITTEN => RUN INSTEAD -->`` where the block as written would train for
long. The blocks of a page run in their order in one empty directory; one with a title becomes the file of that name.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from lrtrain.comparison.plan_file import read_plan
from lrtrain.plugins.hookspecs import PROJECT
from tests import markdown
from tests.markdown import Block

ROOT = Path(__file__).parent.parent
# These have tests of their own, which know what their commands print.
ELSEWHERE = {
    "docs/how-to/writing-plugins.md": "test_writing_plugins.py",
    "docs/how-to/writing-workloads.md": "test_writing_plugins.py",
    "docs/reference/runs.md": "runs/test_runs.py",
}
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LANGUAGES = ("console", "python", "toml")
TRAINS = re.compile(r"lrtrain (train|compare|find-lr|--plugin|--resume|--model|--dataset)|lrtrain\.(train|compare)\(")


def blocks(page: Path) -> list[Block]:
    return markdown.blocks(page.read_text(encoding="utf-8"), *LANGUAGES)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def is_slow(page: Path) -> bool:
    return any(TRAINS.search(each.text) for each in blocks(page) if not each.reason)


RUN = [page for page in PAGES if name(page) not in ELSEWHERE and any(not each.reason for each in blocks(page))]


def take(each: Block, directory: Path) -> None:
    """Runs a block, or writes the file that it is and reads it as lrtrain does."""
    if each.title:
        (directory / each.title).write_text(each.text, encoding="utf-8")
    if each.language == "toml":
        assert read_plan(directory / str(each.title)).rows
    elif not each.title:
        markdown.run(each, directory)
    else:
        compile(each.text, each.title, "exec")


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=name(page), marks=[pytest.mark.slow] if is_slow(page) else []) for page in RUN]
)
@pytest.mark.timeout(900)
def test_page(page: Path, tmp_path: Path) -> None:
    for each in blocks(page):
        if not each.reason:
            take(each, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_seen(page: Path) -> None:
    fences = re.findall(rf"^```(?:{'|'.join(LANGUAGES)})\b", page.read_text(encoding="utf-8"), re.M)
    assert len(fences) == len(blocks(page))
    assert name(page) not in ELSEWHERE or (ROOT / "tests" / ELSEWHERE[name(page)]).is_file()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_are_linked_exist(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_page_is_in_the_site() -> None:
    named = {f"docs/{each}.md" for each in re.findall(r"^[\w/-]+$", (ROOT / "docs/index.md").read_text(), re.M)}
    pages = {name(page) for page in ROOT.glob("docs/**/*.md") if "decisions/" not in name(page)}
    assert pages - {"docs/index.md"} <= named


def test_the_environment_variables_are_those_of_the_code() -> None:
    read = set()
    for source in ROOT.glob("lrtrain/**/*.py"):
        read |= set(re.findall(rf"\"({PROJECT.upper()}_[A-Z_]+)\"", source.read_text(encoding="utf-8")))
    documented = (ROOT / "docs/reference/environment.md").read_text(encoding="utf-8")
    assert read
    assert {each for each in read if f"`{each}" not in documented} == set()


def test_the_files_that_the_house_names_exist() -> None:
    page = (ROOT / "docs/explanation/house.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:\w+/)+(?:\w+\.py)?|\w+\.py)`", page.split("## How a run flows")[1])
    assert len(named) > 40
    assert [path for path in named if not (ROOT / "lrtrain" / path).exists()] == []


def test_the_picture_of_the_house_has_every_room_once_and_no_arrow_that_follows_from_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    from_imports = importlib.import_module("from_imports")
    picture = from_imports.rooms()
    shown = re.findall(r'class="name">(\w+)/?<', picture)
    folders = {path.parent.name for path in ROOT.glob("lrtrain/*/__init__.py")}
    assert sorted(shown) == sorted(folders | {"comparing", "judging", "verifying", "ground"})
    assert "training imports runs, schedules." in picture
    assert picture.count('class="arrow"') == sum(map(len, from_imports.reduced(from_imports.imports()[0]).values()))
    assert from_imports.reduced({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}
