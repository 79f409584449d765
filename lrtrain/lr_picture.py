"""The picture of a learning-rate range test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrtrain.picture import label, saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lrtrain.lr_finder import RangeTest
