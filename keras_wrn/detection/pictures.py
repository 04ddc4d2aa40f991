"""Draw detections on photos."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_wrn.system.files import write_whole

TILE = 384  # pixels of an image in the picture, about
LETTER = 13  # pixels of a letter


def draw_detections(
    images: np.ndarray,
    detections: dict[str, np.ndarray],
    class_names: Sequence[str],
    png: Path,
    *,
    truth: dict[str, np.ndarray] | None = None,
    threshold: float = 0.5,
) -> None:
    """Draw detections with class and confidence, in a picture of at most two rows.

    Args:
        images: uint8 (n, size, size, 3).
        detections: of `predict`, for these images first.
        class_names: the name of each class.
        png: the file to write.
        truth: the true "boxes", drawn in thin white; None: not drawn.
        threshold: the least confidence that is drawn.
    """
    from PIL import Image, ImageDraw, ImageFont

    zoom = max(1, round(TILE / images.shape[1]))
    side = zoom * images.shape[1]
    columns = -(-len(images) // 2) if len(images) > 3 else len(images)
    sheet = Image.new("RGB", (columns * side, -(-len(images) // columns) * side))
    font = ImageFont.load_default(size=LETTER)
    for i, pixels in enumerate(images):
        tile = Image.fromarray(pixels).resize((side, side))
        pen = ImageDraw.Draw(tile)
        for box in () if truth is None else truth["boxes"][i]:  # padding falls outside
            pen.rectangle(_corners(box * zoom), outline="white")
        # The most confident last, on top.
        for k in np.flatnonzero(detections["confidence"][i] >= threshold)[::-1]:
            number, box = int(detections["classes"][i, k]), detections["boxes"][i, k] * zoom
            colour = f"hsl({number * 137 % 360}, 100%, 60%)"  # neighbouring classes differ
            pen.rectangle(_corners(box), outline=colour, width=2)
            text = f"{class_names[number]} {detections['confidence'][i, k]:.0%}"
            corner = (max(box[0], 0), max(box[1] - LETTER - 2, 0))
            pen.rectangle(pen.textbbox(corner, text, font=font), fill="black")
            pen.text(corner, text, fill=colour, font=font)
        sheet.paste(tile, (i % columns * side, i // columns * side))
    write_whole(png, sheet.save)


def _corners(box: np.ndarray) -> tuple[float, ...]:
    return (*box[:2].tolist(), *(box[:2] + np.maximum(box[2:], 0)).tolist())
