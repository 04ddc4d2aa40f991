"""Find what is unusual in pictures, in the manner of PatchCore, on a WRN-50-2.

    python examples/anomaly_detection.py GOOD_FOLDER IMAGE [IMAGE ...] [--save FOLDER]

GOOD_FOLDER holds pictures without fault. Patches of their features (groups 2 and 3) are
remembered, thinned out by a greedy coreset; a patch of another picture is as unusual as it is far
from the nearest one that is remembered. The program prints a score for each picture, highest last,
and with --save writes each with its unusual parts in red.

Source: Roth et al., "Towards Total Recall in Industrial Anomaly Detection", arXiv:2106.08265.
Differs: a picture's score is that of its most unusual patch, without the reweighting of section
3.3; the coreset is found in 128 random directions, as theirs.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

import keras_wrn
from keras_wrn.cli.program import status_of
from keras_wrn.images.pillow_reader import read_images

GROUPS = ("group2", "group3")
SHARE = 0.1  # of the patches that are remembered
DIRECTIONS = 128  # in which the coreset measures distances
Extractor = Callable[[np.ndarray], np.ndarray]


def patch_extractor(
    model: keras.Model, preprocessing: str | keras_wrn.Preprocessing, batch_size: int = 8
) -> Extractor:
    """Make a function from uint8 images (n, h, w, 3) to patches (n, rows, columns, planes).

    Each patch is the mean of 3x3 feature vectors of each group; coarser groups are enlarged.
    """
    network = keras_wrn.features(model, GROUPS)

    def extract(images: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(images), batch_size):
            pixels = images[start : start + batch_size]
            maps = network.predict_on_batch(keras_wrn.preprocess_input(pixels, preprocessing))
            parts.append(join([np.asarray(maps[name]) for name in GROUPS]))
        return np.concatenate(parts)

    return extract


def join(maps: list[np.ndarray]) -> np.ndarray:
    """Average 3x3 vectors of each map, enlarge all to the size of the first, and join them."""
    from scipy.ndimage import uniform_filter

    size = maps[0].shape[1:3]
    joined = []
    for features in maps:
        smooth = uniform_filter(features, (0, 3, 3, 0), mode="nearest")
        large = keras.ops.image.resize(smooth, size, data_format="channels_last")
        joined.append(keras.ops.convert_to_numpy(large))
    return np.concatenate(joined, axis=-1)


def coreset(patches: np.ndarray, share: float = SHARE, seed: int = 0) -> np.ndarray:
    """Choose patches such that none of the others is far from a chosen one (greedy k-centre).

    Args:
        patches: (n, planes).
        share: of the patches to choose, in (0, 1].
        seed: of the first patch and of the random directions.

    Returns:
        The indices of the chosen patches, in the order of choice.
    """
    random = np.random.default_rng(seed)
    if patches.shape[1] > DIRECTIONS:
        directions = random.normal(size=(patches.shape[1], DIRECTIONS)) / DIRECTIONS**0.5
        patches = patches @ directions.astype(np.float32)
    chosen = [int(random.integers(len(patches)))]
    nearest = np.full(len(patches), np.inf)
    for _ in range(max(1, round(share * len(patches))) - 1):
        nearest = np.minimum(nearest, np.sum((patches - patches[chosen[-1]]) ** 2, axis=1))
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)


def remember(extract: Extractor, images: np.ndarray, share: float = SHARE) -> np.ndarray:
    """The memory of pictures without fault, (patches, planes)."""
    found = extract(images)
    patches = found.reshape(-1, found.shape[-1])
    return patches[coreset(patches, share)]


def score(extract: Extractor, images: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """How far each patch is from the nearest in memory, (n, rows, columns)."""
    found = extract(images)
    patches, squares = found.reshape(-1, found.shape[-1]), np.sum(memory**2, axis=1)
    nearest = np.empty(len(patches))
    for start in range(0, len(patches), 1024):
        part = patches[start : start + 1024]
        distances = np.sum(part**2, axis=1)[:, None] - 2 * part @ memory.T + squares
        nearest[start : start + 1024] = np.sqrt(np.maximum(distances.min(axis=1), 0))
    return nearest.reshape(found.shape[:3])


def main(arguments: argparse.Namespace) -> str:
    """Score the pictures; return a line for each."""
    good = sorted(path for path in Path(arguments.good).iterdir() if path.is_file())
    if not good:
        raise keras_wrn.InputError(f"{arguments.good} must hold pictures. Received: no files.")
    pictures = [Path(arguments.save or "", f"{Path(name).stem}.png") for name in arguments.images]
    if arguments.save and (taken := [p for p in pictures if p.exists() or pictures.count(p) > 1]):
        raise keras_wrn.InputError(
            "--save needs pictures of different names, and a folder that has none of these. "
            f"Received: {taken[0]}, which exists or is asked for twice."
        )
    size = arguments.size
    model = keras_wrn.WideResNet50_2(
        weights=arguments.weights, include_top=False, input_shape=(size, size, 3)
    )
    extract = patch_extractor(model, "imagenet")
    resize = size * 8 // 7
    memory = remember(extract, read_images(good, size, resize=resize))
    images = read_images(arguments.images, size, resize=resize)
    heat = score(extract, images, memory)
    scores = heat.max(axis=(1, 2))
    if arguments.save:
        save(pictures, images, heat)
    order = np.argsort(scores)
    return "\n".join(f"{scores[i]:8.3f}  {arguments.images[i]}" for i in order)


def save(pictures: list[Path], images: np.ndarray, heat: np.ndarray) -> None:
    """Write each picture with its unusual parts in red, all on one scale."""
    from PIL import Image

    pictures[0].parent.mkdir(parents=True, exist_ok=True)
    low, high = heat.min(), heat.max()
    for path, image, own in zip(pictures, images, heat, strict=True):
        scaled = (own - low) / max(high - low, 1e-12)
        drawn = keras_wrn.draw_grad_cam(image, scaled, maximum=1.0)
        Image.fromarray(drawn).save(path)


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Find what is unusual in pictures.")
    parser.add_argument("good", help="folder of pictures without fault")
    parser.add_argument("images", nargs="+", help="pictures to score")
    parser.add_argument("--weights", default="imagenet", help="of the WRN-50-2, or a file of them")
    parser.add_argument("--size", type=int, default=224, help="pixels of the middle that is seen")
    parser.add_argument("--save", help="folder for the pictures with their unusual parts in red")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(parse(sys.argv[1:])), sys.argv[0]))
