"""Arrays as small pictures inside a page."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import ArrayLike, NDArray

# More columns of time than screens have are averaged.
_MOST_COLUMNS = 2000


def encoded_image(values: ArrayLike) -> dict[str, object]:
    """A plane as a grey picture of 8 bits, the first column (the lowest frequency) as its lowest
    row, and what its darkest and brightest values mean.

    Args:
        values: ``(time, freq)``, finite. Of more than 2000 frames, as many as it takes are
            averaged for a column.
    """
    from PIL import Image

    plane = _narrowed(np.asarray(values, dtype=np.float64))
    low, high = float(plane.min()), float(plane.max())
    levels = np.zeros_like(plane) if high == low else (plane - low) / (high - low)
    grey = np.round(255 * levels).astype(np.uint8).T[::-1]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey), "L").save(buffer, "PNG", optimize=True)
    return {"png": base64.b64encode(buffer.getvalue()).decode("ascii"), "low": low, "high": high}


def frames_per_column(n_frames: int) -> int:
    """How many frames are averaged for a column of a picture."""
    return -(-n_frames // _MOST_COLUMNS)


def _narrowed(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    width = frames_per_column(len(plane))
    if width <= 1:
        return plane
    starts = np.arange(0, len(plane), width)
    sums = np.add.reduceat(plane, starts, axis=0)
    return np.asarray(sums / np.diff([*starts, len(plane)])[:, None])
