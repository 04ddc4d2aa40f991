"""What a detector found, drawn on the photos."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_wrn.system.files import write_whole

TILE, LETTER = 384, 13  # pixels of an image in a picture, about, and of its letters


def draw_detections(
    images: np.ndarray,
    detections: dict[str, np.ndarray],
    class_names: Sequence[str],
    png: Path,
    *,
    truth: dict[str, np.ndarray] | None = None,
    threshold: float = 0.5,
) -> None:
    """Draw what was found on images, with class and confidence, in a picture of two rows.

    Args:
        images: uint8 (n, size, size, 3).
        detections: as `predict` gives them for these images, and perhaps more.
        class_names: the name of each class.
        png: the picture to write.
        truth: where "boxes" are what is there, to be drawn in thin white.
        threshold: detections of less confidence are left out.
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
        for box in () if truth is None else truth["boxes"][i]:  # padding is outside the image
            pen.rectangle(_corners(box * zoom), outline="white")
        # The surest last, on top.
        for k in np.flatnonzero(detections["confidence"][i] >= threshold)[::-1]:
            number, box = int(detections["classes"][i, k]), detections["boxes"][i, k] * zoom
            colour = f"hsl({number * 137 % 360}, 100%, 60%)"  # neighbours are far apart
            pen.rectangle(_corners(box), outline=colour, width=2)
            text = f"{class_names[number]} {detections['confidence'][i, k]:.0%}"
            corner = (max(box[0], 0), max(box[1] - LETTER - 2, 0))
            pen.rectangle(pen.textbbox(corner, text, font=font), fill="black")
            pen.text(corner, text, fill=colour, font=font)
        sheet.paste(tile, (i % columns * side, i // columns * side))
    write_whole(png, sheet.save)


def _corners(box: np.ndarray) -> tuple[float, ...]:
    return (*box[:2].tolist(), *(box[:2] + np.maximum(box[2:], 0)).tolist())
