"""All plugin packages follow one template: files, metadata, README, docstring, and their place in the workspace."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from lrtrain.plugins.discovery import GROUP, find_plugin
from lrtrain.plugins.loading import activate, hooks_of, load_class
from lrtrain.plugins.options import options_of
from tests.markdown import Block, blocks, executed

ROOT = Path(__file__).parent.parent
MADE = re.compile(r"(^|/)(\.|__pycache__|build/|dist/|[^/]*\.egg-info)")
SECTIONS = ["What it is", "Install", "Use", "Options"]


def metadata(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def brings_plugins(folder: Path) -> bool:
    """Tells a plugin from a data set, which is a package of another kind, by the group of its entry points."""
    return GROUP in metadata(folder)["project"]["entry-points"]


FOLDERS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
PLUGINS = [folder for folder in FOLDERS if brings_plugins(folder)]
TEMPLATE = next(folder for folder in PLUGINS if folder.name == "lrtrain-constant")

pytestmark = pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)


def plugin_name(folder: Path) -> str:
    return folder.name.removeprefix("lrtrain-")


def module_name(folder: Path) -> str:
    return folder.name.replace("-", "_")


def plugin_class(folder: Path) -> type:
    return load_class(find_plugin(plugin_name(folder)))


def builds_schedule(folder: Path) -> bool:
    """Tells a schedule from an observer, which implements the other hooks."""
    return "build_schedule" in hooks_of(plugin_class(folder))


def distribution_name(dependency: str) -> str:
    return re.split(r"[\[<>=!]", dependency)[0].lower().replace("_", "-")


def section(folder: Path, title: str) -> str:
    """Returns the text of one section of a README."""
    text = (folder / "README.md").read_text()
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def code(folder: Path, language: str) -> Block:
    return blocks(section(folder, "Use"), language)[0]


def test_files(folder):
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {path for path in found if not MADE.search(path)} == {
        "LICENSE",
        "README.md",
        f"{module_name(folder)}.py",
        "pyproject.toml",
        f"tests/test_{module_name(folder).removeprefix('lrtrain_')}.py",
    }


def test_licence(folder):
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_pyproject_has_the_fields_of_the_template_and_no_tool_settings(folder):
    data, template = metadata(folder), metadata(TEMPLATE)
    assert len((folder / "pyproject.toml").read_text().splitlines()) < 32
    assert list(data) == list(template) == ["build-system", "project"]
    assert data["build-system"] == template["build-system"]
    assert list(data["project"]) == list(template["project"])
    for field in ("version", "readme", "license", "license-files", "requires-python"):
        assert data["project"][field] == template["project"][field]
    assert data["project"]["name"] == folder.name
    assert data["project"]["description"].startswith("lrtrain plugin: ")


def test_entry_point_is_named_like_the_folder(folder):
    (points,) = metadata(folder)["project"]["entry-points"].values()
    ((name, value),) = points.items()
    module, _, class_name = value.partition(":")
    assert name == plugin_name(folder)
    assert module == module_name(folder)
    assert class_name.lower() == name.replace("-", "")


def test_dependencies_are_those_imported_with_the_bounds_of_the_root(folder):
    dependencies = metadata(folder)["project"]["dependencies"]
    root = metadata(ROOT)["project"]
    assert dependencies[0] == "lrtrain>=0.1,<0.2"
    # What core has too, it has within the same bounds; a client of another program is the plugin's own.
    of_root = {distribution_name(each) for each in root["dependencies"]}
    assert {each for each in dependencies[1:] if distribution_name(each) in of_root} <= set(root["dependencies"])
    imported = set()
    for node in ast.walk(ast.parse((folder / f"{module_name(folder)}.py").read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        imported |= {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    declared = {distribution_name(dependency) for dependency in dependencies}
    # A package that is installed to be edited is not among them; here its module has the package's name.
    known = packages_distributions()
    bringing = [{distribution_name(each) for each in known.get(name, [name])} for name in imported]
    assert all(distributions & declared for distributions in bringing), "what is imported is declared"
    assert declared <= set().union(*bringing), "what is declared is imported"


def test_the_root_lists_it(folder):
    root = metadata(ROOT)
    extras = root["project"]["optional-dependencies"]
    # One that brings a client of another program has an extra of its own instead.
    assert (folder.name in extras["all"]) != (extras.get(plugin_name(folder)) == [folder.name])
    assert root["tool"]["uv"]["sources"][folder.name] == {"workspace": True}


def test_readme_has_four_sections(folder):
    text = (folder / "README.md").read_text()
    assert text.startswith(f"# {folder.name}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert f"pip install {folder.name}\n" in section(folder, "Install")


def test_readme_has_the_table_of_options(folder):
    rows = [
        f"| `{option.name}` | {option.type} | {'required' if option.default is None else f'`{option.default}`'} "
        f"| {option.doc} |"
        for option in options_of(plugin_class(folder))
    ]
    expected = ["| name | type | default | meaning |", "|---|---|---|---|", *rows]
    assert section(folder, "Options").strip().splitlines() == expected


def test_readme_has_examples_that_run(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = shlex.split(code(folder, "bash").text)
    assert command[0] == "lrtrain"
    assert set(command[1::2]) == {"--plugin"}
    # An observer joins a schedule, which comes first.
    specs = command[2::2]
    assert len(specs) == (1 if builds_schedule(folder) else 2)
    activate(specs).schedule_plugin()
    assert ", ".join(f'"{spec}"' for spec in specs) in code(folder, "python").text
    names = executed(code(folder, "python"))
    if builds_schedule(folder):
        assert float(names["rate"](100)) > 0
    else:
        assert len(names["result"].history) == 2


def test_docstring(folder):
    text = inspect.getdoc(plugin_class(folder))
    first, blank, *_ = text.splitlines()
    assert first.endswith(".")
    assert not blank
    assert "math::" in text or not builds_schedule(folder)
    assert "\nExample:\n  >>> import lrtrain\n" in text
    assert re.search(r"^References?: \S", text, re.MULTILINE)


def test_every_option_is_documented_and_has_a_default(folder):
    for option in options_of(plugin_class(folder)):
        assert option.default is not None
        # "learning rate" alone is what the type says of itself.
        assert option.doc not in {"", "learning rate"}
