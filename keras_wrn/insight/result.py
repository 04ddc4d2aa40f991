"""What an assessment gives: the figures, and the arrays that its page is drawn of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Assessment:
    """What `assess` measured.

    Attributes:
        figures: plain numbers, lists and texts: what the JSON file holds.
        images: the images that were assessed, uint8 (n, height, width, channels).
        labels: their classes, int64 (n,).
        probabilities: float64 (n, classes).
        scores: the out-of-distribution scores by set and score; "" is the set that was assessed,
            or its second half where the scores were fitted to the first.
    """

    figures: dict[str, Any]
    images: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    scores: dict[str, dict[str, np.ndarray]]
