"""Arrays as small pictures inside a page."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import ArrayLike


def encoded_image(values: ArrayLike) -> dict[str, object]:
    """A plane as a grey picture of 8 bits, the first column (the lowest frequency) as its lowest
    row, and what its darkest and brightest values mean.

    Args:
        values: ``(time, freq)``, finite.
    """
    from PIL import Image

    plane = np.asarray(values, dtype=np.float64)
    low, high = float(plane.min()), float(plane.max())
    levels = np.zeros_like(plane) if high == low else (plane - low) / (high - low)
    grey = np.round(255 * levels).astype(np.uint8).T[::-1]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey), "L").save(buffer, "PNG", optimize=True)
    return {"png": base64.b64encode(buffer.getvalue()).decode("ascii"), "low": low, "high": high}
