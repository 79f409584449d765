"""Two CPU devices for the tests of the engine; JAX reads this when it is imported, which few tests do."""

from __future__ import annotations

import os

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")
