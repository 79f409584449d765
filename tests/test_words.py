"""The words of the documentation and of the code: those of the glossary, plain ones, docstrings of one form."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("[!_]*/*.md"), *ROOT.glob("plugins/*/README.md")])
SOURCES = sorted(
    [*ROOT.glob("lrtrain/**/*.py"), *ROOT.glob("plugins/*/lrtrain_*.py"), *ROOT.glob("plugins/*/lrtrain_*/*.py")]
)
# A run notes the digest of the file of a plugin that observes, and is not resumed with another one: such a file gets
# plain words when its code changes.
PLAIN = [path for path in SOURCES if not (ROOT / "plugins" in path.parents and "def on_" in path.read_text("utf-8"))]
KINDS = {"tutorial", "how-to", "reference", "explanation", "decisions"}
WORDS = """
    run comparison trial outcome plan row stage scale factor wave baseline held-out split look margin verdict workload
    headline plugin hook observer option setting spec schedule table step epoch chunk portion checkpoint position
"""
# Each stands for a plainer word: fixed, apply, again, estimated, distinguished, provides, valid, durability.
QUAINT = re.compile(
    r"\b(mend(?:s|ed|ing)?|heed(?:s|ed|ing)?|unheard|anew|reckon(?:s|ed|ing)?|t(?:old|ell)\b[^.;:]{0,30}\bapart|brings?"
    r"|sound|nothing lost|(?:come|comes|came) (?:to|of))\b",
    re.IGNORECASE,
)
# In code these too: provided, valid, N, returns whether, arrived or connected, should.
QUAINT_IN_CODE = re.compile(
    rf"{QUAINT.pattern}|\b(brought|so many|(?:tell|say)s whether|ha(?:s|ve) come|shall)\b", re.IGNORECASE
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


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yields the docstrings of a file with the lines on which what they describe begins."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield getattr(node, "lineno", 1), text


# The text of these is below the head; that of any other (`When: ...`, `Order: ...`, `Reference: ...`) on its line.
SECTIONS = {"Args", "Attributes", "Returns", "Yields", "Raises", "Example", "Examples", "Source"}
LISTS = {"Args", "Attributes", "Raises"}
TEXTS = {"Returns", "Yields", "Source"}
# The text of an entry begins in lower case, with code, a number or a name: one of several capitals, or one of these.
ENTRY = re.compile(
    r"  \*{0,2}\w+(, \*{0,2}\w+)*: ([a-z0-9`\"'*(-]|[A-Z]\w*[A-Z]|(None|True|False|Orbax|Python|Ctrl-C)\b)"
)


def faults(docstring: str) -> list[str]:
    """Returns the lines that a docstring has in another form than the others."""
    summary = docstring.splitlines()[0]
    found = [] if re.match(r"[A-Z`]", summary) and summary.endswith(".") else [summary]
    for block in re.split(r"\n(?=\S)", docstring):
        first, *body = filter(None, block.splitlines())
        head = re.fullmatch(r"([A-Z][a-z]+):(.*)", first)
        if head and (head[1] in SECTIONS if head[2] else head[1] not in SECTIONS):
            found.append(first)
        elif head and head[1] in LISTS:
            starts = [line for line in body if not line.startswith("    ")]
            found += [line for line in [body[0], *starts] if not ENTRY.match(line)]
            found += [line for line in body if line.startswith("     ")]
        elif head and head[1] in TEXTS:
            found += [line for line in body if not re.match(r"  \S", line)]
    return found


def words(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the comments and the texts of a file, docstrings among them, with their lines; values stand as ``{}``."""
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.lineno, node.value


def quaint(path: Path) -> list[tuple[int, str]]:
    """Returns the words of a file for which there are plainer ones, with their lines."""
    return [
        (line, match[0]) for line, text in words(path) for match in QUAINT_IN_CODE.finditer(re.sub(r"\s+", " ", text))
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_have_one_form(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert [(line, fault) for line, text in docstrings(source) for fault in faults(text)] == []


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_comments_and_messages_are_plain(path: Path) -> None:
    assert quaint(path) == []


GOOD = """Returns the sum.

What follows is prose: any line of it.

Args:
  first, **others: the terms, of which a long
    description goes on.
  name: `x` or ``None``.

Returns:
  A number.

Raises:
  ValueError: JSON has no such number.

Example:
  >>> 1 + 1
  2

Reference: a paper.
"""


def test_a_docstring_in_another_form_is_found() -> None:
    assert faults(GOOD) == []
    changes = [
        ("Returns the sum.", "the sum."),
        ("Returns the sum.", "Returns the sum"),
        ("  first, **others: the terms", "    first, **others: the terms"),
        ("the terms, of", "The terms, of"),
        ("    description", "      description"),
        ("  name: `x`", "  name is `x`"),
        ("  A number.", "    A number."),
        ("Returns:\n  A", "Returns: A"),
        ("Raises:", "Errors:"),
        ("ValueError: JSON", "ValueError: There"),
        ("Reference: a", "Reference:\n  a"),
    ]
    for before, after in changes:
        assert GOOD.replace(before, after) != GOOD
        assert faults(GOOD.replace(before, after)), after


def test_a_quaint_word_is_found_in_code_and_not_in_names(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text(
        '"""Tells\nwhether it is so."""\nanew = 1  # mended\nprint("so " f"many {anew} brings")\nsound = b"anew"\n'
    )
    assert sorted(quaint(path)) == [(1, "Tells whether"), (3, "mended"), (4, "brings"), (4, "so many")]
