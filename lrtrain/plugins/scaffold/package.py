"""The package that ``lrtrain plugins new`` or ``lrtrain workloads new`` makes: templates, filled in from one name."""

from __future__ import annotations

import datetime
import keyword
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from string import Template

from lrtrain.errors import UsageError
from lrtrain.plugins.discovery import GROUP, WORDS, WORKLOADS, find_plugins
from lrtrain.plugins.spec import normal_name, short

NOBODY = "The authors"
# Letters first, so that module and class are identifiers; at most what a file name takes beside its suffix.
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", re.ASCII)
_LONGEST = 60
_EXAMPLES = {GROUP: "my-schedule", WORKLOADS: "my-workload"}


@dataclass(frozen=True)
class Package:
    """A package to be made: the plugin's name, such as ``my-schedule``, who holds the copyright, and the group."""

    name: str
    author: str
    group: str = GROUP

    @classmethod
    def named(cls, name: str, author: str, group: str = GROUP) -> Package:
        """Returns the package of a plugin; raises UsageError for a name that is not valid or is taken."""
        _check_name(name, group)
        if not author.strip() or not author.isprintable() or set(author) & set('"\\'):
            raise UsageError(f"--author {short(author)!r} is refused: expected one line of text without quotes")
        package = cls(normal_name(name), author.strip(), group)
        for entry in find_plugins(group):
            if entry.name == package.name:
                raise UsageError(f"the name '{package.name}' is taken by {entry.origin()}: choose another")
        try:
            version = metadata.version(package.distribution)
        except metadata.PackageNotFoundError:
            return package
        taken = f"{package.distribution} {version} is installed already"
        raise UsageError(f"{taken}: choose another name than '{package.name}'")

    @property
    def distribution(self) -> str:
        """The name that pip knows it by."""
        return f"lrtrain-{self.name}"

    @property
    def module(self) -> str:
        """The name that Python imports it by."""
        return self.distribution.replace("-", "_")

    def files(self) -> dict[str, str]:
        """Returns the text of each file by its path in the package."""
        templates = _TEMPLATES[self.group]
        cls = "".join(word.capitalize() for word in self.name.split("-"))
        # The class has another name than those that its module imports.
        if re.search(rf"\b{cls}\b", _text(templates["$module.py"]).partition("@dataclass")[0]):
            cls = f"{cls}{WORDS[self.group].capitalize()}"
        major, minor = metadata.version("lrtrain").split(".")[:2]
        values = {
            "name": self.name,
            "underscored": self.name.replace("-", "_"),
            "distribution": self.distribution,
            "module": self.module,
            "cls": cls,
            "author": self.author,
            "year": str(datetime.datetime.now().astimezone().year),
            "next": f"{major}.{int(minor) + 1}",
            "current": f"{major}.{minor}",
        }
        return {
            Template(path).substitute(values): Template(_text(template)).substitute(values)
            for path, template in templates.items()
        }

    def write(self, folder: Path) -> list[str]:
        """Makes the package in a folder that is not there yet, else UsageError; returns the paths of its files."""
        files = self.files()
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise UsageError(f"{folder} is there already, and nothing in it is overwritten: give --directory") from None
        try:
            for path, text in files.items():
                (folder / path).parent.mkdir(exist_ok=True)
                (folder / path).write_text(text, encoding="utf-8")
        except BaseException:
            # This process has made the folder; incomplete, it would be in the way of the next attempt.
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return list(files)


def _templates(folder: str) -> dict[str, str]:
    """Returns the templates by the path that they are written to."""
    return {
        "pyproject.toml": f"{folder}/pyproject.toml.template",
        "$module.py": f"{folder}/module.py.template",
        "tests/test_$underscored.py": f"{folder}/test.py.template",
        "README.md": f"{folder}/README.md.template",
        "LICENSE": "LICENSE.template",
    }


_TEMPLATES = {GROUP: _templates("schedule"), WORKLOADS: _templates("workload")}


def author_from_git() -> str:
    """Returns ``user.name`` of git's configuration, or `NOBODY` where there is none."""
    try:
        done = subprocess.run(
            ["git", "config", "--get", "user.name"], capture_output=True, text=True, check=False, timeout=5
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return NOBODY
    name = done.stdout.strip()
    return name if name.isprintable() and name and not set(name) & set('"\\') else NOBODY


def _check_name(name: str, group: str) -> None:
    normal = normal_name(name)
    if not _NAME.fullmatch(normal) or len(normal) > _LONGEST:
        raise UsageError(
            f"'{short(name)}' is no name for a {WORDS[group]}: expected at most {_LONGEST} letters, digits and -, "
            f"a letter first, as in {_EXAMPLES[group]}"
        )
    if keyword.iskeyword(normal) or normal in ("true", "false", "none"):
        raise UsageError(f"'{normal}' is a word of Python or of specs: choose another name")
    if normal == "lrtrain" or normal.startswith("lrtrain-"):
        rest = normal.removeprefix("lrtrain").strip("-") or _EXAMPLES[group]
        raise UsageError(f"'{normal}' begins with lrtrain, as the package does anyway: give the rest, such as {rest}")


def _text(template: str) -> str:
    return (resources.files("lrtrain.plugins.scaffold") / "templates" / template).read_text(encoding="utf-8")
