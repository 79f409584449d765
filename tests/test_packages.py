"""All schedule packages follow one template: files, metadata, README, docstring, and their place in the workspace."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from lrtrain.discovery import GROUP, find_plugin
from lrtrain.options import options_of
from lrtrain.plugins import load_class

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


def section(folder: Path, title: str) -> str:
    """Returns the text of one section of a README."""
    text = (folder / "README.md").read_text()
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def code(folder: Path, language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", section(folder, "Use"), re.DOTALL)[1]


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
    assert set(dependencies[1:]) <= set(root["dependencies"])
    imported = set()
    for node in ast.walk(ast.parse((folder / f"{module_name(folder)}.py").read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        imported |= {name.partition(".")[0] for name in names}
    declared = {re.split(r"[<>=!]", dependency)[0] for dependency in dependencies}
    assert imported & {"jax", "lrtrain", "numpy", "optax"} == declared


def test_the_root_lists_it(folder):
    root = metadata(ROOT)
    assert folder.name in root["project"]["optional-dependencies"]["all"]
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


def test_readme_has_examples_that_run(folder):
    command = shlex.split(code(folder, "bash"))
    assert command[:2] == ["lrtrain", "--plugin"]
    (spec,) = command[2:]
    assert f'"{spec}"' in code(folder, "python")
    names: dict = {}
    exec(code(folder, "python"), names)
    assert float(names["rate"](100)) > 0


def test_docstring(folder):
    text = inspect.getdoc(plugin_class(folder))
    first, blank, *_ = text.splitlines()
    assert first.endswith(".")
    assert not blank
    assert "math::" in text
    assert "\nExample:\n  >>> import lrtrain\n" in text
    assert re.search(r"^References?: \S", text, re.MULTILINE)


def test_every_option_is_documented_and_has_a_default(folder):
    for option in options_of(plugin_class(folder)):
        assert option.default is not None
        # "learning rate" alone is what the type says of itself.
        assert option.doc not in {"", "learning rate"}
