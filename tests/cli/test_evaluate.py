"""``lrtrain evaluate`` and ``lrtrain predict``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import lrtrain
from tests.lab import cli, contents, done, refusal
from tests.training.test_trained import FILE, INPUTS, RATE


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "inputs.npz", inputs=INPUTS)
    return lrtrain.train(RATE, workload=f"{FILE}:Blobs", run_dir="runs/blobs", epochs=2).run_dir


def test_it_prints_what_the_run_logged(run: Path) -> None:
    logged = {epoch.step: epoch for epoch in lrtrain.runs.read_run(run).epochs}
    before = contents(run)
    for words, step in ((["--checkpoint", "last"], 16), (["--checkpoint", "8"], 8)):
        values = json.loads(done(cli("evaluate", run, "--json", *words)))
        assert values == {"run": str(run), "step": step, "split": "test", **logged[step].means}
    best = max(logged.values(), key=lambda epoch: epoch.accuracy)
    said = done(cli("evaluate", "blobs"))
    assert said == (
        f"test loss {best.loss:.4f}, test accuracy {best.accuracy:.4f}, with the checkpoint of step {best.step}\n"
    )
    assert contents(run) == before


def test_it_predicts_from_a_file(run: Path) -> None:
    expected = lrtrain.load(run).predict(INPUTS)
    said = done(cli("predict", "blobs", "inputs.npz"))
    assert said.startswith("outputs float32[75, 10], labels int64[75], with the checkpoint of step ")
    with np.load("inputs-outputs.npz") as file:
        written = dict(file)
    np.testing.assert_array_equal(written["outputs"], expected)
    np.testing.assert_array_equal(written["labels"], expected.argmax(-1))
    assert "is there already" in refusal(cli("predict", "blobs", "inputs.npz"))
    done(cli("predict", "blobs", "inputs.npz", "--force"))
    np.savez("only.npz", x=INPUTS[:3])
    done(cli("predict", run, "only.npz", "--output", "out.npz", "--checkpoint", "last"))
    with np.load("out.npz") as file:
        assert file["labels"].shape == (3,)


def test_what_cannot_be_done_is_one_sentence(run: Path, tmp_path: Path) -> None:
    np.savez("two.npz", x=INPUTS, y=INPUTS)
    np.savez("wrong.npz", inputs=INPUTS[:, :7])
    np.savez("objects.npz", inputs=np.array([{}, None], object))
    np.savez("none.npz")
    np.save("array.npy", INPUTS)
    Path("text.npz").write_text("no arrays")
    for file, message in {
        "missing.npz": "missing.npz cannot be read: No such file or directory",
        "two.npz": "has the arrays x, y, and none is called 'inputs': rename one",
        "wrong.npz": "float32[N, 7], and the network takes float32[N, 20]",
        "objects.npz": "inputs in objects.npz is an array of Python objects: expected numbers",
        "none.npz": "no .npz file of arrays",
        "array.npy": "no .npz file of arrays",
        "text.npz": "no .npz file of arrays",
    }.items():
        assert message in refusal(cli("predict", "blobs", file, "--output", "new.npz")), file
        assert not Path("new.npz").exists()
    assert "expected a name that ends in .npz" in refusal(cli("predict", "blobs", "inputs.npz", "--output", "a.txt"))
    assert "no run 'blosb' in runs (did you mean 'blobs'?)" in refusal(cli("evaluate", "blosb"))
    assert "expected best, last or a step" in refusal(cli("evaluate", "blobs", "--checkpoint", "first"))
    assert "no checkpoint of step 7" in refusal(cli("evaluate", "blobs", "--checkpoint", "7"))
    assert "has data of its own" in refusal(cli("evaluate", "blobs", "--dataset", "mnist"))
    assert "no validation examples" in refusal(cli("evaluate", "blobs", "--split", "validation"))
    (run / "checkpoints").rename(tmp_path / "elsewhere")
    assert "has no checkpoint" in refusal(cli("evaluate", "blobs"))


def test_a_run_of_what_was_made_in_python_is_refused(tmp_path: Path) -> None:
    from tests.training.blobs import Blobs

    run = lrtrain.train(RATE, workload=Blobs(), run_dir=tmp_path / "run", epochs=1).run_dir
    assert "the workload Blobs was made in Python: give it again" in refusal(cli("evaluate", run))


def test_images_of_another_data_set(tiny: Path, tmp_path: Path) -> None:
    options = ("--dataset", "tiny", "--data-dir", tiny, "--batch-size", 8, "--devices", 1, "--epochs", 1, "--quiet")
    done(cli("--plugin", "constant(value=1e-4)", "--run-dir", tmp_path / "run", *options))
    own = done(cli("evaluate", tmp_path / "run"))
    assert done(cli("evaluate", tmp_path / "run", "--dataset", "tiny", "--data-dir", tiny)) == own
    assert "'tinny'" in refusal(cli("evaluate", tmp_path / "run", "--dataset", "tinny"))
