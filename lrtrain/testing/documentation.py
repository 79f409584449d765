"""Checks of a plugin's documentation: its class, its options, its README, its examples."""

from __future__ import annotations

import doctest
import importlib
import importlib.metadata
import inspect
import re
from pathlib import Path

from lrtrain.plugins.options import Option, options_of
from lrtrain.testing.failure import NotApplicable, require
from lrtrain.testing.subject import Provided, Subject

_SOURCE = re.compile(r"math::|References?: \S|arXiv|doi|https?://")


def is_documented(subject: Provided) -> None:
    """The class has a docstring that begins with a sentence, and every option says what it means."""
    text, name = inspect.getdoc(subject.plugin) or "", subject.plugin.__name__
    # A dataclass without a docstring has its signature in its place.
    require(text and not text.startswith(f"{name}("), f"class {name} has no docstring: say in one line what it does")
    first = text.partition("\n\n")[0]
    require(first.endswith("."), f"the docstring of {name} begins with '{first}': begin with a sentence")
    for option in options_of(subject.plugin):
        # "learning rate" alone is what the type says of itself.
        require(
            option.doc not in {"", "learning rate"},
            f"option '{option.name}' of {name} does not say what it means: give it Annotated[..., Doc('...')]",
        )


def has_a_formula_or_a_reference(subject: Subject) -> None:
    """The docstring of a schedule gives its formula, or says where it comes from."""
    text = inspect.getdoc(subject.plugin) or ""
    require(
        _SOURCE.search(text),
        f"the docstring of {subject.plugin.__name__} has neither a formula nor a reference: "
        "add '.. math::' with the formula, or 'Reference: ' with the paper",
    )


def readme_has_the_options(subject: Provided) -> None:
    """The README of its package, where it has one, lists every option with its type, default and meaning."""
    text = re.sub(" +", " ", _readme(subject))
    for option in options_of(subject.plugin):
        row = _row(option)
        require(row in text, f"the README of {subject.entry.distribution} lacks the row {row}")


def examples_run(subject: Provided) -> None:
    """The examples in its docstrings give the output that they show."""
    module = importlib.import_module(subject.plugin.__module__)
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        runner.run(test, out=said.append)
    if not runner.tries:
        raise NotApplicable("its docstrings have no example")
    lines = [line.strip() for line in "".join(said).splitlines()[1:] if line.strip()]
    require(not runner.failures, f"an example of {subject.title} is wrong: {'; '.join(lines[:9])}")


def _row(option: Option) -> str:
    default = "required" if option.default is None else f"`{option.default}`"
    return f"| `{option.name}` | {option.type} | {default} | {option.doc} |"


def _readme(subject: Provided) -> str:
    """Returns the README beside the module, or else the one in the metadata of the distribution."""
    if subject.entry.in_file:
        raise NotApplicable("it is a class in a file")
    source = Path(inspect.getfile(subject.plugin)).parent
    for folder in (source, source.parent, source.parent.parent):
        if (folder / "pyproject.toml").is_file() and (folder / "README.md").is_file():
            return (folder / "README.md").read_text(encoding="utf-8")
    metadata = importlib.metadata.metadata(subject.entry.distribution)
    text = str(metadata.json.get("description", ""))
    if not text.strip():
        raise NotApplicable("its package has no README")
    return text
