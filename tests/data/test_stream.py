"""A training set that is streamed gives the bits of one that is kept on the devices."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lrtrain
from lrtrain import host
from lrtrain.data import examples, find_dataset, load_dataset
from lrtrain.engine import devices as engine_devices
from lrtrain.engine.engine import Engine
from lrtrain.engine.optimizers import optimizer
from lrtrain.engine.order import epoch_order
from lrtrain.errors import DataError, TrainingError
from lrtrain.nn.model import CNN
from lrtrain.plugins.context import StepInfo
from lrtrain.training.reporter import NullReporter
from tests.lab import SPEC, Dies, Killed, same_run

GIB = 2**30


class Phases(NullReporter):
    def __init__(self) -> None:
        self.phases: list[str] = []

    def phase(self, text: str) -> None:
        self.phases.append(text)


@pytest.fixture
def options(tiny: Path) -> dict[str, Any]:
    return {"dataset": "tiny", "data_dir": tiny, "batch_size": 4, "epochs": 2, "optimizer": "adam"}


def train(run_dir: Path, where: str, **options: Any) -> lrtrain.training.train.RunResult:
    return lrtrain.train(SPEC, run_dir=run_dir, data_on_device=where, **options)


def assert_no_thread_reads() -> None:
    """A thread may finish what it reads; then it ends."""
    deadline = time.monotonic() + 30
    while any(thread.name.startswith("lrtrain-reader") for thread in threading.enumerate()):
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.01)


# ----------------------------------------------------------------------------------------------------------- whole runs


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"shuffle": False},
        {"batch_size": 13},
        {"batch_size": 40, "devices": 1, "loss_reduction": "mean"},
        {"train_size": 50, "seed": 3, "batch_size": 16, "micro_batch": 3},
    ],
    ids=["shuffled", "in file order", "a last batch of 7", "one device", "a subset"],
)
def test_streamed_is_the_same_to_the_bit(options: dict[str, Any], tmp_path: Path, more: dict[str, Any]) -> None:
    kept, streamed = (train(tmp_path / where, where, **options | more) for where in ("always", "never"))
    same_run(kept.run_dir, streamed.run_dir)
    assert (kept.test_loss, kept.test_accuracy) == (streamed.test_loss, streamed.test_accuracy)
    assert_no_thread_reads()


class Noisy(nn.Module):
    """Has a state, which the statistics of a last batch that is not full change, and draws random numbers."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(x.reshape(x.shape[0], -1)))
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(nn.relu(x)))


@dataclass(frozen=True, kw_only=True)
class Mirrored(lrtrain.ImageClassification):
    """Images mirrored at random."""

    def network(self, data: lrtrain.Dataset) -> nn.Module:
        return Noisy()

    def augment(self, raw: jax.Array, key: jax.Array) -> jax.Array:
        return jnp.where(jax.random.bernoulli(key), raw[:, ::-1], raw)


@pytest.mark.parametrize("batch_size", [4, 13])
def test_a_workload_with_a_state_and_random_numbers_streams_the_same(
    options: dict[str, Any], tmp_path: Path, batch_size: int
) -> None:
    options |= {"workload": Mirrored(), "batch_size": batch_size, "loss_reduction": "mean"}
    kept, streamed = (train(tmp_path / where, where, **options) for where in ("always", "never"))
    same_run(kept.run_dir, streamed.run_dir)
    assert kept.test_metrics == streamed.test_metrics
    with pytest.raises(Killed):
        train(tmp_path / "torn", "never", reporter=Dies(step=kept.steps // 2 + 1), **options)
    lrtrain.train(run_dir=tmp_path / "torn", resume=True, workload=Mirrored())
    same_run(kept.run_dir, tmp_path / "torn")


@pytest.mark.parametrize(("first", "then"), [("never", "never"), ("never", "always"), ("always", "never")])
@pytest.mark.filterwarnings("ignore:.*was never awaited:RuntimeWarning")
def test_killed_and_resumed_in_the_same_or_the_other_way(
    options: dict[str, Any], tmp_path: Path, first: str, then: str
) -> None:
    train(tmp_path / "whole", "always", **options)
    with pytest.raises(Killed):
        train(tmp_path / "torn", first, reporter=Dies(step=30), **options)
    assert_no_thread_reads()
    lrtrain.train(run_dir=tmp_path / "torn", resume=True, data_on_device=then)
    same_run(tmp_path / "whole", tmp_path / "torn")


def test_stopped_in_an_epoch_and_resumed_while_streaming(
    options: dict[str, Any], tmp_path: Path, install_plugin: Any
) -> None:
    source = """
@dataclass(frozen=True)
class Plugin:
    "Stops once, as the file says."
    @hookimpl
    def on_step(self, run, step):
        flag = run.directory / ".." / "stopped"
        if step.step == 40 and not flag.exists():
            flag.touch()
            return Stop("once")
"""
    options |= {"batch_size": 2}
    observer = install_plugin("once", source)
    (tmp_path / "stopped").touch()
    lrtrain.train(SPEC, observer, run_dir=tmp_path / "whole", data_on_device="always", **options)
    (tmp_path / "stopped").unlink()
    torn = lrtrain.train(SPEC, observer, run_dir=tmp_path / "torn", data_on_device="never", **options)
    assert torn.steps % 36 != 0, "in the middle of an epoch"
    assert_no_thread_reads()
    lrtrain.train(SPEC, run_dir=tmp_path / "torn", resume=True)
    same_run(tmp_path / "whole", tmp_path / "torn")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a cache directory in which no arrays are kept."""
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.glob("arrays/tiny-*/*")}


def test_what_is_decoded_to_be_streamed_is_what_is_kept_when_it_is_loaded(
    tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, sizes = examples.Examples.arrays, []

    def noted(self: examples.Examples, indices: Any, shape: Any) -> Any:
        sizes.append(len(indices))
        return decoded(self, indices, shape)

    find_dataset("tiny", data_dir=tiny).load()
    loaded = files(cache)
    shutil.rmtree(cache)
    monkeypatch.setattr(examples, "_CHUNK", 8)
    monkeypatch.setattr(examples.Examples, "arrays", noted)
    find_dataset("tiny", data_dir=tiny).stream()
    assert files(cache) == loaded
    assert max(sizes) == 8, "never all at once"
    monkeypatch.setattr(examples.Examples, "arrays", lambda *_: pytest.fail("decoded again"))
    find_dataset("tiny", data_dir=tiny).stream()
    find_dataset("tiny", data_dir=tiny).load()


def test_the_next_chunk_is_sent_before_the_one_before_is_waited_for(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So its examples are copied to the devices while these compute."""
    events: list[str] = []
    run_steps = Engine.run_steps

    def sending(self: Engine, *arguments: Any) -> Any:
        events.append("sent")
        return run_steps(self, *arguments)

    class Records(NullReporter):
        def stepped(self, step: StepInfo, examples_per_second: float) -> None:
            events.append("recorded")

    monkeypatch.setattr(Engine, "run_steps", sending)
    train(tmp_path / "run", "never", reporter=Records(), **options | {"epochs": 1})
    # The first call compiles.
    assert events[1:4] == ["sent", "sent", "recorded"]


# ----------------------------------------------------------------------------------------------------------- the choice


@pytest.mark.parametrize(("memory", "streamed"), [(72 * 108 * 3, True), (GIB, False)])
def test_auto_streams_what_does_not_fit(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int, streamed: bool
) -> None:
    monkeypatch.setattr(engine_devices, "host_memory", lambda: memory)
    reporter = Phases()
    train(tmp_path / "run", "auto", reporter=reporter, **options)
    assert any("to be streamed" in phase for phase in reporter.phases) == streamed


class Device:
    def __init__(self, platform: str, stats: dict[str, int] | None = None) -> None:
        self.platform, self._stats = platform, stats

    def memory_stats(self) -> dict[str, int] | None:
        return self._stats


@pytest.mark.parametrize(
    ("devices", "size", "kept"),
    [
        ([Device("cpu")], 16 * GIB // 3, True),
        ([Device("cpu")] * 2, 16 * GIB // 3, False),
        ([Device("gpu", {"bytes_limit": 8 * GIB})] * 8, 4 * GIB, True),
        ([Device("gpu", {"bytes_limit": 8 * GIB}), Device("gpu", {"bytes_limit": 7 * GIB})], 4 * GIB, False),
        ([Device("gpu", {"bytes_limit": 80 * GIB})], 9 * GIB, False),
        ([Device("gpu", {})], 8 * GIB, True),
        ([Device("tpu", None)], 8 * GIB, True),
    ],
    ids=["cpu", "two copies", "gpus", "the smallest counts", "the host loads it", "no limit", "no statistics"],
)
def test_what_fits(monkeypatch: pytest.MonkeyPatch, devices: list[Any], size: int, kept: bool) -> None:
    monkeypatch.setattr(engine_devices, "host_memory", lambda: 32 * GIB)
    assert engine_devices.fits(size, devices) == kept


def test_memory_of_the_host(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    assert host.host_memory(meminfo, tmp_path) == float("inf")
    meminfo.write_text("MemTotal:       2000 kB\nMemAvailable:   1000 kB\n")
    assert host.host_memory(meminfo, tmp_path) == 1000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    assert host.host_memory(meminfo, tmp_path) == 1000 * 1024
    (tmp_path / "memory.max").write_text("5000\n")
    assert host.host_memory(meminfo, tmp_path) == 5000
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("4000\n")
    assert host.host_memory(meminfo, tmp_path) == 4000


def test_the_size_is_known_with_and_without_decoded_arrays(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", str(tmp_path))
    source = find_dataset("tiny", data_dir=tiny)
    assert source.train_bytes() == 72 * 108
    source.load()
    monkeypatch.setattr(source, "use", lambda action: pytest.fail("the data was opened"))
    assert source.train_bytes() == 72 * 108


# ---------------------------------------------------------------------------------------------------------- the reading


def test_the_chunks_are_those_of_the_arrays(tiny: Path) -> None:
    whole = load_dataset("tiny", data_dir=tiny, train_size=50, seed=1)
    streamed = find_dataset("tiny", data_dir=tiny).stream(50, 1)
    assert (streamed.num_classes, streamed.class_names, streamed.name) == (
        whole.num_classes,
        whole.class_names,
        whole.name,
    )
    order, _ = epoch_order(5, 2, 50, 8, shuffle=True)
    chunks = list(streamed.train.chunks(order, 3))
    assert [len(labels) for _, labels in chunks] == [3, 3, 1]
    for position, expected in enumerate((whole.train.inputs, whole.train.targets)):
        read = np.concatenate([chunk[position] for chunk in chunks])
        assert read.dtype == expected.dtype
        np.testing.assert_array_equal(read, expected[order])
    assert_no_thread_reads()


def test_reading_ends_when_it_is_closed(tiny: Path) -> None:
    stream = find_dataset("tiny", data_dir=tiny).stream().train
    chunks = stream.chunks(epoch_order(0, 0, 72, 2, shuffle=True)[0], 4)
    next(chunks)
    chunks.close()
    assert_no_thread_reads()


def test_a_train_size_that_there_is_not(tiny: Path) -> None:
    with pytest.raises(DataError, match="'tiny' has 72 training examples: choose from 1 to 72 of them, not 73"):
        find_dataset("tiny", data_dir=tiny).stream(73)


def test_the_next_chunk_is_read_ahead(tiny: Path) -> None:
    stream = find_dataset("tiny", data_dir=tiny).stream().train
    order, _ = epoch_order(0, 0, 72, 4, shuffle=True)
    with contextlib.closing(stream.chunks(order, 2)) as chunks:
        next(chunks)
        held, _ = next(chunks)
        copy = held.copy()
        for _ in chunks:
            np.testing.assert_array_equal(held, copy)


def test_damage_is_found_before_training(options: dict[str, Any], tmp_path: Path, cache: Path) -> None:
    """The reader checks a record when it is read; the first one is whole."""
    shutil.copytree(options["data_dir"], tmp_path / "data")
    file = next((tmp_path / "data" / "tiny").glob("*/*train*"))
    contents = bytearray(file.read_bytes())
    middle = len(contents) // 2
    contents[middle : middle + 64] = bytes(64)
    file.write_bytes(contents)
    options |= {"data_dir": tmp_path / "data"}
    with pytest.raises(DataError, match=r"the data in .*tiny/1\.0\.0 is damaged \("):
        train(tmp_path / "run", "never", **options)
    assert not (tmp_path / "run").exists()
    assert {path.suffix for path in cache.glob("arrays/*")} == {".lock"}


def test_a_record_that_cannot_be_read_is_named_in_one_sentence(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    decoded = examples.Examples._decoded

    def damaged(self: examples.Examples, indices: Any) -> Any:
        def fail() -> Any:
            raise RuntimeError("checksum of record 7\nand a stack of the native reader")

        return self._try(fail) if len(indices) > 1 and 7 in indices and len(self) == 72 else decoded(self, indices)

    monkeypatch.setattr(examples.Examples, "_decoded", damaged)
    with pytest.raises(DataError) as caught:
        train(tmp_path / "run", "never", **options)
    directory = options["data_dir"] / "tiny" / "1.0.0"
    assert str(caught.value) == (
        f"the data in {directory} is damaged (RuntimeError: checksum of record 7): delete that directory and prepare "
        "the data set again"
    )


class Cuts(NullReporter):
    """Cuts a file once a step has been done."""

    def __init__(self, file: Path, left: int) -> None:
        self.file, self.left = file, left

    def stepped(self, step: StepInfo, examples_per_second: float) -> None:
        if step.step >= 20:
            # What is read in the moment of the cut ends the process.
            time.sleep(0.2)
            with self.file.open("r+b") as file:
                file.truncate(self.left)


@pytest.mark.parametrize("name", ["train_images.npy", "train_labels.npy"])
@pytest.mark.parametrize("left", [0, 200], ids=["all of it", "its end"])
def test_a_file_that_is_cut_while_training(
    options: dict[str, Any], tmp_path: Path, cache: Path, name: str, left: int
) -> None:
    find_dataset("tiny", data_dir=options["data_dir"]).stream()
    file = next(cache.glob(f"arrays/tiny-*/{name}"))
    options |= {"epochs": 4}
    with pytest.raises(TrainingError) as caught:
        train(tmp_path / "run", "never", reporter=Cuts(file, left), **options)
    assert str(caught.value) == (
        f"the decoded data in {file.parent} is damaged (EOFError: a file has been cut short since it was opened): the "
        "next run decodes it again; what the run has done so far is kept"
    )
    assert_no_thread_reads()
    lrtrain.train(run_dir=tmp_path / "run", resume=True)
    train(tmp_path / "whole", "never", **options)
    same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("change", ["altered", "cut", "removed", "prepared again"])
def test_what_has_changed_since_is_decoded_again(tiny: Path, tmp_path: Path, cache: Path, change: str) -> None:
    shutil.copytree(tiny, tmp_path / "data")
    source = find_dataset("tiny", data_dir=tmp_path / "data")
    whole = source.stream().train.inputs.items.copy()
    file = next(cache.glob("arrays/tiny-*/train_images.npy"))
    contents = file.read_bytes()
    if change == "removed":
        file.unlink()
    elif change == "prepared again":
        next((tmp_path / "data" / "tiny").glob("*/*train*")).touch()
        file.write_bytes(contents[:-1] + b"x")
    else:
        file.write_bytes(contents[:-1] + (b"x" if change == "altered" else b""))
    np.testing.assert_array_equal(source.stream().train.inputs.items, whole)
    assert file.read_bytes() == contents


def test_no_room_for_what_is_decoded(
    options: dict[str, Any], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=72 * 108 - 1))
    with pytest.raises(DataError) as caught:
        train(tmp_path / "run", "never", **options)
    assert str(caught.value) == (
        f"the decoded examples of 'tiny', which are streamed, cannot be kept in {cache / 'arrays'} (7.24e-06 GiB are "
        "needed and 7.24e-06 free): set LRTRAIN_CACHE_DIR to a directory that has room"
    )
    assert not (tmp_path / "run").exists()
    assert {path.suffix for path in cache.glob("arrays/*")} == {".lock"}


def test_data_that_changes_while_it_is_decoded(tiny: Path, tmp_path: Path, cache: Path, monkeypatch: Any) -> None:
    shutil.copytree(tiny, tmp_path / "data")
    parts = examples.Examples.parts

    def touching(self: examples.Examples) -> Any:
        next((tmp_path / "data" / "tiny").glob("*/*test*")).touch()
        yield from parts(self)

    monkeypatch.setattr(examples.Examples, "parts", touching)
    with pytest.raises(DataError, match="the data of 'tiny' has changed while it was decoded: begin again"):
        find_dataset("tiny", data_dir=tmp_path / "data").stream()


# ----------------------------------------------------------------------------------------------------------- the engine


class Brightest(nn.Module):
    """Makes NaN of a blank image, as a normalization without an epsilon does."""

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        scaled = images / jnp.max(images, axis=(1, 2, 3), keepdims=True)
        return nn.Dense(3)(scaled.reshape(len(images), -1))


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("model", [CNN(num_classes=3), Brightest()], ids=["cnn", "brightest"])
def test_the_engine_takes_batches_that_do_not_divide_evenly(tiny: Path, model: nn.Module, devices: int) -> None:
    data = load_dataset("tiny", data_dir=tiny)
    order, weights = epoch_order(0, 0, 72, 13, shuffle=True)
    losses = []
    for kept, given in (
        (data.train, order),
        (None, (data.train.inputs[order], data.train.targets[order])),
    ):
        engine = Engine(
            model,
            optimizer("sgd"),
            kept,
            data.test,
            batch_size=13,
            micro_batch=4,
            devices=jax.devices("cpu")[:devices],
        )
        engine.compile()
        state = engine.init(0)
        with jax.transfer_guard("disallow"):
            losses.append(np.asarray(engine.run_steps(state, given, weights, np.full(len(order), 1e-3))[1]))
    assert np.isfinite(losses).all()
    np.testing.assert_array_equal(*losses)


def test_streaming_compiles_once(tiny: Path) -> None:
    data = load_dataset("tiny", data_dir=tiny)
    order, weights = epoch_order(0, 0, 72, 8, shuffle=True)
    engine = Engine(CNN(num_classes=3), optimizer("sgd"), None, data.test, batch_size=8)
    engine.compile()
    state = engine.init(0)
    compiled: list[str] = []

    def note(name: str, _: float, **details: Any) -> None:
        if name == "/jax/core/compile/backend_compile_duration":
            compiled.append(str(details.get("fun_name", "?")))

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        for part in (slice(0, 5), slice(5, 9)):
            batch = data.train.inputs[order[part]], data.train.targets[order[part]]
            state, losses = engine.run_steps(state, batch, weights[part], np.full(len(order[part]), 1e-3))
            losses.block_until_ready()
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
    assert compiled == []
