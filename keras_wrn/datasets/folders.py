"""A folder of class sub-folders with images -> files, or uint8 images, and integer labels."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_wrn.errors import InputError
from keras_wrn.images.pillow_reader import read_images

Split = tuple[np.ndarray, np.ndarray]
PerClass = list[list[Path]]
_TEST_FOLDERS = ("test", "val", "validation", "valid")
_ANNOTATIONS = "val_annotations.txt"  # Tiny ImageNet's list of file, class and box


def read(
    folder: Path,
    size: int,
    *,
    resize: int | None = None,
    interpolation: str = "bilinear",
    split: str | None = None,
    most: int | None = None,
) -> tuple[Split, Split, tuple[str, ...]]:
    """Read the images of a folder, in a layout that `scan` understands, into memory.

    Each image is read as `prediction.read_images` reads it, so that a network is trained on what
    it will be asked about.

    Args:
        folder: the folder.
        size: height and width that every image is brought to, in pixels.
        resize: pixels that the shorter side is first brought to; None for the largest square.
        interpolation: of the resizing, "bilinear" or "bicubic".
        split: "train" or "test" to read that alone; the other has no images then.
        most: at most so many images of each, evenly out of all classes; None for all.

    Returns:
        (train images, labels), (test images, labels), class names in alphabetical order.

    Raises:
        InputError: no such layout, a class without images, or a file that is not an image.
    """
    if importlib.util.find_spec("PIL") is None:
        raise InputError(
            "Reading images needs Pillow, which is not installed. Run: pip install pillow"
        )
    names, train, test = scan(folder)

    def image(path: Path) -> np.ndarray:
        return read_images([path], size, resize=resize, interpolation=interpolation)[0]

    def part(name: str, files: PerClass) -> Split:
        wanted = sum(map(len, files)) if split in (None, name) else 0
        return _read(files, wanted if most is None else min(most, wanted), size, image)

    return part("train", train), part("test", test), names


def scan(folder: Path) -> tuple[tuple[str, ...], PerClass, PerClass]:
    """Find the image files of a folder.

    Two layouts are understood. With a split of its own: `train/CLASS/...` beside `test/CLASS/...`
    (or val/, validation/, valid/; the first with the classes of train/ is the test set). Without:
    `CLASS/...`, and then every fifth image of each class, by name, is the test set. Images may
    lie deeper, as in Tiny ImageNet's `CLASS/images/`, and its `val/images/` is sorted by its
    `val_annotations.txt`; hidden files are left out.

    Args:
        folder: the folder.

    Returns:
        Class names in alphabetical order, and for each class the files to train and to test with.

    Raises:
        InputError: no such layout, or a class without images.
    """
    return _split_of_its_own(folder) or _every_fifth(folder)


def spread(images: int, chosen: int) -> np.ndarray:
    """So many of the places 0 to images - 1, evenly: files in the order of classes give all."""
    return np.arange(chosen) * images // chosen


def _split_of_its_own(folder: Path) -> tuple[tuple[str, ...], PerClass, PerClass] | None:
    beside = [folder / name for name in _TEST_FOLDERS if (folder / name).is_dir()]
    if not ((folder / "train").is_dir() and beside):
        return None
    names = _class_names(folder / "train")
    for tests in beside:
        annotated = tests / _ANNOTATIONS
        if annotated.is_file() or _sub_folders(tests) == names:
            train = [_files(folder / "train" / name) for name in names]
            if annotated.is_file():
                return names, train, _annotated(annotated, names)
            return names, train, [_files(tests / name) for name in names]
    # An unlabelled test/ may lie beside a val/ that is nearer to what is wanted.
    nearest = max(beside, key=lambda tests: len(set(names) & set(_sub_folders(tests))))
    if not _sub_folders(nearest):
        raise InputError(
            f"{nearest} must have a sub-folder for each class, as {folder / 'train'} has, but has "
            "none. ImageNet's validation images come so: sort them by their classes."
        )
    missing = sorted(set(names).symmetric_difference(_sub_folders(nearest)))
    raise InputError(
        f"{nearest} must have the same class sub-folders as {folder / 'train'}. In only one of "
        f"the two: {', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}."
    )


def _annotated(annotations: Path, names: tuple[str, ...]) -> PerClass:
    files: dict[str, list[Path]] = {name: [] for name in names}
    for line in annotations.read_text(encoding="utf-8").splitlines():
        file, name = (*line.split("\t"), "", "")[:2]
        if name not in files:
            raise InputError(
                f"{annotations} must have the name of an image and one of the {len(names)} classes "
                f"of train/ in each line. Received: {line!r}."
            )
        files[name].append(annotations.parent / "images" / file)
    return [sorted(files[name]) for name in names]


def _every_fifth(folder: Path) -> tuple[tuple[str, ...], PerClass, PerClass]:
    names = _class_names(folder)
    files = [_files(folder / name) for name in names]
    test = [of_class[4::5] for of_class in files]
    if not any(test):
        raise InputError(
            f"{folder} has fewer than 5 images in every class, so none is left for the test set "
            "(every fifth is taken). Add images, or give train/ and test/ sub-folders."
        )
    return names, [[p for i, p in enumerate(c) if i % 5 != 4] for c in files], test


def _sub_folders(folder: Path) -> tuple[str, ...]:
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return tuple(sorted(entry.name for entry in entries if entry.is_dir()))


def _class_names(folder: Path) -> tuple[str, ...]:
    names = _sub_folders(folder)
    if len(names) < 2:
        raise InputError(
            f"{folder} must have one sub-folder of images per class, at least two, directly or "
            f"in train/ and test/. Found sub-folders: {', '.join(names) or 'none'}."
        )
    return names


def _files(class_folder: Path) -> list[Path]:
    # Tiny ImageNet keeps a text file with boxes beside images/; only images/ is looked into.
    images = class_folder / "images"
    found = []
    for parent, folders, files in os.walk(
        images if images.is_dir() else class_folder, followlinks=True
    ):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if not name.startswith(".")]
    if not found:
        raise InputError(f"The class folder {class_folder} has no images.")
    return sorted(found)


def _read(files: PerClass, count: int, size: int, image: Callable[[Path], np.ndarray]) -> Split:
    every = [(path, label) for label, of_class in enumerate(files) for path in of_class]
    chosen = [every[place] for place in spread(len(every), count)]
    images = np.empty((count, size, size, 3), dtype=np.uint8)
    for target, (path, _) in zip(images, chosen, strict=True):
        target[...] = image(path)
    return images, np.array([label for _, label in chosen], np.int64)
