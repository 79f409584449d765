"""What a command that has ended early says of how it is continued."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner

from lrtrain.cli import main
from lrtrain.runs.command import how_to_go_on, resume_command


@pytest.mark.parametrize("directory", ["runs/a", "my run", "it's", "$(date)"])
def test_the_command_can_be_copied_into_a_shell(directory: str) -> None:
    words = ["--resume", "--run-dir", directory]
    assert shlex.split(resume_command(directory)) == ["lrtrain", *words]
    assert shlex.split(resume_command(Path(directory), "comparison")) == ["lrtrain", "compare", *words]


def test_the_sentence_names_what_is_continued() -> None:
    assert how_to_go_on(None) == "nothing has been trained yet"
    assert how_to_go_on("a", "comparison") == "lrtrain compare --resume --run-dir a continues the comparison"
    options = how_to_go_on("a", "run", "--accept-code-change")
    assert options == "lrtrain --resume --accept-code-change --run-dir a continues the run"
    assert how_to_go_on("a", command="the same command with") == (
        "the same command with --resume --run-dir a continues the run"
    )


@pytest.mark.parametrize(
    ("words", "function", "kind"),
    [([], "training.train.train", "run"), (["compare"], "comparison.conduct.compare_plan", "comparison")],
)
def test_what_is_interrupted_while_it_is_resumed_has_not_lost_its_directory(
    monkeypatch: pytest.MonkeyPatch, words: list[str], function: str, kind: str
) -> None:
    """It said that nothing had been trained, or that nothing was kept, until training began again."""

    def interrupted(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"lrtrain.{function}", interrupted)
    arguments = [*words, "--resume", "--run-dir", "my run"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 130
    command = shlex.join(["lrtrain", *arguments])
    assert done.stderr.splitlines()[-1] == f"Error: interrupted; {command} continues the {kind}"
