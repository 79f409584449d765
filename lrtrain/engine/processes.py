"""The processes that train one network together, and what they agree on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator

from lrtrain.engine.agreement import Facts, unequal
from lrtrain.engine.exchange import exchange
from lrtrain.errors import LrtrainError, TrainingError, UsageError, cause


class Processes:
    """The processes of a run, as one of them sees them; also those of a run of one process.

    Whatever communicates here has to be called by all processes, in one order. ``agreed_to_end`` is whether all of them
    know that they end.
    """

    def __init__(self, index: int, count: int) -> None:
        self._index = index
        self._count = count
        self.agreed_to_end = False

    @property
    def count(self) -> int:
        """How many processes there are."""
        return self._count

    @property
    def index(self) -> int:
        """Which of them this one is, from 0."""
        return self._index

    @property
    def alone(self) -> bool:
        """Whether this is the only process."""
        return self._count == 1

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files, calls hooks and reports."""
        return self._index == 0

    def from_main(self, make: Callable[[], str]) -> str:
        """Returns to every process the text that the main process makes.

        Raises:
          TrainingError: in all other processes, when making it has failed; the main process raises what it raised.
        """
        if self.alone:
            return make()
        text = ""
        with self.together() as said:
            if self.is_main:
                said.append(make())
        (text,) = said
        return text

    @contextlib.contextmanager
    def together(self) -> Iterator[list[str]]:
        """Ends when all processes have reached its end, and fails in all of them when it has failed in one.

        Yields:
          A list: what the main process puts in it, the list of every process holds at the end.

        Raises:
          TrainingError: another process has failed; this one would wait for it for ever.
        """
        said: list[str] = []
        with self._agreeing(said) as of_all:
            yield said
        said[:] = of_all[0]

    def gathered(self, make: Callable[[], list[str]]) -> list[str]:
        """Returns the texts that all processes make, those of the first process first.

        Raises:
          TrainingError: making them has failed in another process.
        """
        mine: list[str] = []
        with self._agreeing(mine) as of_all:
            mine.extend(make())
        return [text for texts in of_all for text in texts]

    def check_alike(self, facts: Facts) -> None:
        """Ends all processes when they were not given the same.

        Args:
          facts: what all must have been given alike, by name; JSON.

        Raises:
          UsageError: they differ, in all processes: says which one does, and in what.
        """
        if self.alone:
            return
        of_all = [json.loads(text) for text in self.gathered(lambda: [json.dumps(facts)])]
        problem = unequal(of_all, self.index)
        if problem is not None:
            self.agreed_to_end = True
            raise UsageError(problem)

    @contextlib.contextmanager
    def _agreeing(self, mine: list[str]) -> Iterator[list[list[str]]]:
        """Ends when all processes have reached its end; the list it yields then holds the texts of each of them."""
        of_all: list[list[str]] = []
        if self.alone:
            yield of_all
            of_all.append(mine)
            return
        failure = None
        try:
            yield of_all
        except Exception as error:  # noqa: BLE001  # raised again, once the others know of it
            failure = error
        told = _told(failure) if failure else None
        messages = [json.loads(text) for text in exchange(json.dumps({"failed": told, "said": mine}))]
        self.agreed_to_end = any(message["failed"] is not None for message in messages)
        if failure is not None:
            raise failure
        for index, message in enumerate(messages):
            if message["failed"] is not None:
                raise TrainingError(f"process {index} of this distributed run has failed: {message['failed']}")
        of_all.extend(message["said"] for message in messages)


def _told(error: Exception) -> str:
    return (str(error) if isinstance(error, LrtrainError) else cause(error))[:2000]


ALONE = Processes(0, 1)
