"""Pictures of curves: PNG and SVG, readable and the same each time."""

from __future__ import annotations

import struct
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from lrtrain.figures import draw_curves

SVG = "{http://www.w3.org/2000/svg}"


def line(steps: int, top: float = 1e-3) -> np.ndarray:
    return np.linspace(top, 0, steps, dtype=np.float32)


def texts(path: Path) -> list[str]:
    return ["".join(each.itertext()).strip() for each in ET.parse(path).getroot().iter(f"{SVG}text")]


def png_size(path: Path) -> tuple[int, int]:
    """Returns width and height as the file's header has them (W3C PNG, 11.2.2)."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert data[12:16] == b"IHDR"
    assert data[-12:] == b"\x00\x00\x00\x00IEND\xaeB\x60\x82"
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def pixels(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def coloured(path: Path, colour: str) -> np.ndarray:
    """Returns which pixels have that very colour, bool[height, width]."""
    red_green_blue = [int(colour[index : index + 2], 16) for index in (1, 3, 5)]
    return (pixels(path) == red_green_blue).all(axis=2)


def test_png(tmp_path: Path) -> None:
    path = tmp_path / "curve.png"
    draw_curves({"sgdr": line(2350)}, path, 235)
    width, height = png_size(path)
    assert (width, height) == pixels(path).shape[1::-1]
    assert width == 1200
    assert 650 <= height <= 750


def test_the_curve_is_where_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "curve.png"
    draw_curves({"falls": line(100)}, path)
    blue = coloured(path, "#0072B2")[:600]
    rows, columns = np.nonzero(blue)
    assert rows[columns.argmin()] < 100, "it begins at the top left"
    assert rows[columns.argmax()] > 450, "and ends at the bottom right"
    assert np.corrcoef(columns, rows)[0, 1] > 0.99


def test_svg_has_its_text_as_text(tmp_path: Path) -> None:
    path = tmp_path / "curve.svg"
    draw_curves({"sgdr(cycles=4)": line(2350), "b": line(2350) / 2}, path, 235)
    found = texts(path)
    assert {"step (optimizer updates)", "learning rate", "epoch", "sgdr(cycles=4)", "b"} <= set(found)
    assert {"0", "500", "1000", "1500", "2000", "10", "0.2e-3", "1e-3"} <= set(found)
    assert ET.parse(path).getroot().tag == f"{SVG}svg"


def test_the_same_curves_give_the_same_file(tmp_path: Path) -> None:
    curves = {"sgdr": line(100), "b": line(100) / 2}
    for name in ("a.svg", "b.svg", "c.SVG", "a.png", "b.png"):
        draw_curves(curves, tmp_path / name, 10)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes() == (tmp_path / "c.SVG").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(("steps_per_epoch", "shown"), [(None, False), (50, True), (100, False), (1000, False)])
def test_epochs_are_counted_where_there_are_several(tmp_path: Path, steps_per_epoch: int | None, shown: bool) -> None:
    path = tmp_path / "curve.svg"
    draw_curves({"a": line(100)}, path, steps_per_epoch)
    assert ("epoch" in texts(path)) is shown


@pytest.mark.parametrize(
    ("top", "labels"),
    [
        (4e-4, {"0", "1e-4", "4e-4", "0.5e-4"}),
        (1.0, {"0", "0.2", "1"}),
        (0.05, {"0", "0.01", "0.05"}),
        (400.0, {"0", "100", "400"}),
        (3e7, {"0", "1e7", "3e7"}),
        (1e-30, {"0", "0.2e-30", "1e-30"}),
    ],
)
def test_learning_rates_are_written_as_one_types_them(tmp_path: Path, top: float, labels: set[str]) -> None:
    path = tmp_path / "curve.svg"
    draw_curves({"a": line(50, top)}, path)
    assert labels <= set(texts(path))
    # matplotlib's own way is a power of ten apart from the axis, over the ticks above it.
    assert not any("\N{MULTIPLICATION SIGN}" in text or "\N{MINUS SIGN}" in text for text in texts(path))


@pytest.mark.parametrize("values", [[0.1], [0.0], [0.0] * 10, [0.5] * 10, [3e38] * 3, [1e-45] * 3])
def test_curves_without_much_to_see(tmp_path: Path, values: list[float]) -> None:
    path = tmp_path / "curve.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_curves({"a": np.array(values, np.float32)}, path, 1)
    assert coloured(path, "#0072B2")[:600].any()


def test_the_legend_does_not_lie_on_the_curves(tmp_path: Path) -> None:
    names = [
        "flat",
        *(f"a-schedule-with-a-long-name(with_an_option={index}, and_another={index})" for index in range(8)),
    ]
    draw_curves({name: np.full(100, 1 + index, np.float32) for index, name in enumerate(names)}, tmp_path / "curve.svg")
    root = ET.parse(tmp_path / "curve.svg").getroot()
    (frame,) = (each for each in root.iter(f"{SVG}g") if each.get("id") == "patch_2")
    (path,) = frame.iter(f"{SVG}path")
    bottom = max(float(number) for number in path.attrib["d"].replace("L", " ").replace("M", " ").split()[1:-1:2])
    (legend,) = (each for each in root.iter(f"{SVG}g") if each.get("id", "").startswith("legend"))
    heights = [float(each.attrib["y"]) for each in legend.iter(f"{SVG}text") if "y" in each.attrib]
    assert {"".join(each.itertext()) for each in legend.iter(f"{SVG}text")} == set(names)
    assert all(height > bottom for height in heights)
    assert len(heights) == len(names)


def test_long_names_are_wrapped_then_cut(tmp_path: Path) -> None:
    path = tmp_path / "curve.svg"
    long = "join(schedules=[" + ", ".join(f"cosine-decay(init_value=0.{index})" for index in range(60)) + "])"
    draw_curves({long: line(10)}, path)
    words = " ".join(texts(path))
    assert "join(schedules=[cosine-decay(init_value=0.0), cosine-decay(init_value=0.1)," in words
    assert "0.9)" in words
    assert "0.59)" not in words
    assert "..." in words


@pytest.mark.parametrize("name", ["a(b='$x$')", "a(b='$')", r"a(b='\alpha $\frac{')", "a(b='<&>')", "_hidden"])
def test_names_are_no_formulas_and_no_markup(tmp_path: Path, name: str) -> None:
    path = tmp_path / "curve.svg"
    draw_curves({name: line(10)}, path)
    assert name in texts(path)


def test_overlapping_curves_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "curve.png"
    same = np.full(100, 0.5, np.float32)
    draw_curves({"below": same, "above": same}, path)
    plane = slice(0, 600)
    assert coloured(path, "#0072B2")[plane].any()
    assert coloured(path, "#D55E00")[plane].any()


def test_many_curves_have_a_look_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "curve.svg"
    draw_curves({str(index): line(10) + index for index in range(28)}, path)
    styles = set()
    for each in ET.parse(path).getroot().iter(f"{SVG}path"):
        style = dict(part.split(": ") for part in each.get("style", "").split("; ") if ": " in part)
        if style.get("stroke-width") == "1.8":
            styles.add((style["stroke"], style.get("stroke-dasharray")))
    assert len(styles) == 28


def test_settings_of_matplotlib_are_left_alone(tmp_path: Path) -> None:
    import matplotlib as mpl

    # To look at the backend is to choose one.
    before = {name: mpl.rcParams[name] for name in mpl.rcParams if name != "backend"}
    draw_curves({"a": line(10)}, tmp_path / "curve.svg")
    assert {name: mpl.rcParams[name] for name in before} == before


def test_no_figure_stays_open(tmp_path: Path) -> None:
    import sys

    draw_curves({"a": line(10)}, tmp_path / "curve.png")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
