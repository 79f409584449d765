"""The options for command buffers are parsed by any of XLA's compilers, so a CPU shows what a GPU is given."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest

from lrtrain.engine import command_buffers, program
from lrtrain.engine.command_buffers import CUDA_OPTIONS, command_buffer_options, first_accepted
from lrtrain.engine.devices import chooses_command_buffers
from lrtrain.engine.engine import Engine
from lrtrain.engine.optimizers import optimizer
from tests.engine.test_population import BATCH, TEST, TRAIN, PlainCNN

FLAG = "xla_gpu_enable_command_buffer"
REFUSED = {FLAG: "NO_SUCH_KIND"}
CPU = jax.local_devices(backend="cpu")[0]


def kinds_in_use(options: Any, directory: Path) -> set[str]:
    """Returns the kinds of command buffers that the compiler says it was given."""
    jax.jit(lambda x: x + 1, compiler_options={**options, "xla_dump_to": str(directory)})(1.0)
    (file,) = directory.glob("*debug_options")
    lines = [line.partition(": ") for line in file.read_text(encoding="utf-8").splitlines()]
    return {value for name, _, value in lines if name.strip() == FLAG}


def test_loops_and_convolutions_are_given_to_the_compiler(tmp_path: Path) -> None:
    options = first_accepted(CUDA_OPTIONS, CPU)
    assert options is not None
    with_ours = kinds_in_use(options, tmp_path)
    assert {"WHILE", "CONDITIONAL", "CONVOLUTION", "FUSION", "CUBLAS", "CUDNN"} <= with_ours


def test_a_name_that_an_older_compiler_lacks_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    assert first_accepted([REFUSED, CUDA_OPTIONS[-1]], CPU) == CUDA_OPTIONS[-1]
    assert caplog.messages == []


def test_a_refusal_is_said_once_and_the_program_runs_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(command_buffers, "CUDA_OPTIONS", (REFUSED,))
    cuda = SimpleNamespace(platform_version="PJRT C API\ncuda 13000")
    device = SimpleNamespace(client=cuda, device_kind="NVIDIA H200")
    monkeypatch.setattr(jax, "local_devices", lambda backend: [device])
    monkeypatch.setattr(jax, "device_put", lambda value, _: value)
    command_buffer_options.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert [command_buffer_options("gpu"), command_buffer_options("gpu")] == [None, None]
    finally:
        command_buffer_options.cache_clear()
    (said,) = caplog.messages
    assert said.startswith("NVIDIA H200 runs loops without command buffers, which may take longer (")
    assert "NO_SUCH_KIND" in said


@pytest.mark.parametrize("version", ["PJRT C API\nrocm 70100", "StreamExecutor TPU"])
def test_other_accelerators_have_the_options_of_xla(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    device = SimpleNamespace(client=SimpleNamespace(platform_version=version), device_kind="another")
    monkeypatch.setattr(jax, "local_devices", lambda backend: [device])
    command_buffer_options.cache_clear()
    try:
        assert command_buffer_options("gpu") is None
    finally:
        command_buffer_options.cache_clear()


def test_a_program_is_compiled_with_what_its_platform_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    engines = [
        Engine(PlainCNN(), optimizer("sgd"), TRAIN, TEST, batch_size=BATCH, devices=[CPU], command_buffers=wanted)
        for wanted in (True, False)
    ]
    given: list[Any] = []
    monkeypatch.setattr(program.Program, "platform", "gpu")
    monkeypatch.setattr(program, "command_buffer_options", lambda platform: {"of": platform})
    monkeypatch.setattr(program.jax, "jit", lambda _, compiler_options, **__: given.append(compiler_options))
    for engine in engines:
        program.compiled(lambda: None, engine._program)
    assert given == [{"of": "gpu"}, None]


def test_the_user_may_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    assert chooses_command_buffers()
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_autotune_level=0")
    assert chooses_command_buffers()
    monkeypatch.setenv("XLA_FLAGS", f"--{FLAG}=")
    assert not chooses_command_buffers()
