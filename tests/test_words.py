"""The words of the documentation: the glossary has them, plain ones, and each page lies in the folder of its kind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("[!_]*/*.md"), *ROOT.glob("plugins/*/README.md")])
KINDS = {"tutorial", "how-to", "reference", "explanation", "decisions"}
WORDS = """
    run comparison trial outcome plan row stage scale factor wave baseline held-out split verdict plugin hook observer
    option setting spec schedule table step epoch chunk portion checkpoint position
"""
# Each stands for a plainer word: fixed, apply, again, estimated, distinguished, provides, valid, durability.
QUAINT = re.compile(
    r"\b(mend(?:s|ed|ing)?|heed(?:s|ed|ing)?|unheard|anew|reckon(?:s|ed|ing)?|t(?:old|ell)\b[^.;:]{0,30}\bapart|brings?"
    r"|sound|nothing lost|(?:come|comes|came) (?:to|of))\b",
    re.IGNORECASE,
)


def prose(page: Path) -> str:
    """Returns a page without its code, which quotes programs, and without the table of the session faults."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`|^\|.*\| \d+ \|$", "", text, flags=re.MULTILINE)


def glossary() -> dict[str, str]:
    """Returns the words of the glossary with what they mean."""
    text = (DOCS / "reference" / "glossary.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```\{glossary\}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return dict(re.findall(r"^(\S.*)\n  (.*)$", block, re.MULTILINE))


def test_every_page_lies_in_the_folder_of_its_kind() -> None:
    assert [path.name for path in DOCS.glob("*.md")] == ["index.md"]
    assert {path.parent.name for path in DOCS.glob("[!_]*/*.md")} == KINDS
    assert list(DOCS.glob("[!_]*/*/*.md")) == []


def test_the_glossary_has_the_words_in_one_sentence_each() -> None:
    assert list(glossary()) == [word.replace("-", " ") for word in WORDS.split()]
    for word, meaning in glossary().items():
        assert meaning.endswith("."), word
        assert ". " not in meaning, word


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_prose_is_plain(page: Path) -> None:
    assert QUAINT.findall(prose(page)) == []


def test_a_quaint_word_is_found_in_prose_and_not_in_code(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("A run begins anew.\n\n`anew`\n\n```console\nanew\n```\n\n| no sound checkpoint | 2 | 0 |\n")
    assert QUAINT.findall(prose(page)) == ["anew"]
    page.write_text("They cannot be told from each other apart, and what has come of it.\n")
    assert len(QUAINT.findall(prose(page))) == 2
