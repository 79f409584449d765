"""Checks of a plugin in a process of its own, where nothing else has been imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from lrtrain.testing.failure import fail

_TIMEOUT = 120
# A plugin may print too: the answer is the last line.
_PREFIX = "import json, sys\nsys.path[:], given = json.loads(sys.argv[1])\n"


def ask(code: str, given: Any, doing: str, **variables: str) -> Any:
    """Runs code in a fresh Python and returns what it prints last, as JSON.

    Args:
      code: the code, with a variable ``given``.
      given: the value of that variable, anything that JSON holds.
      doing: what is done with the plugin, for messages: ``plugin 'x' is imported``.
      variables: added to the environment.
    """
    command = [sys.executable, "-c", _PREFIX + code, json.dumps([sys.path, given])]
    try:
        done = subprocess.run(
            command,
            text=True,
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        fail(f"when {doing} in a fresh process, it has not ended after {_TIMEOUT} seconds")
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        said = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        fail(f"when {doing} in a fresh process, it ends with code {done.returncode}: {said}")
    return json.loads(lines[-1])
