"""Images in one sub-folder per class: find the files, or read them into memory."""

import os
from pathlib import Path

import numpy as np

from keras_wrn.datasets.images import Images, spread
from keras_wrn.errors import InputError
from keras_wrn.images.pillow_reader import read_images
from keras_wrn.system.backend import import_package

PerClass = list[list[Path]]  # the image files of each class
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
) -> tuple[Images, Images, tuple[str, ...]]:
    """Read the images of a folder into memory.

    Training and prediction read image files in the same way, with `pillow_reader.read_images`.

    Args:
        folder: a folder in one of the layouts of `scan`.
        size: height and width of the result, in pixels.
        resize: pixels of the shorter side before the crop; None for the largest square.
        interpolation: "bilinear" or "bicubic".
        split: "train" or "test" to read that one only; the other has no images then.
        most: maximum images per split, spread evenly; None: no limit.

    Returns:
        Training and test images, uint8 (n, size, size, 3), with labels, int64 (n,); and the class
        names in alphabetical order.

    Raises:
        InputError: another layout, a class without images, or a file that is not an image.
    """
    import_package("PIL", "pillow", "Reading images")
    names, train, test = scan(folder)

    def part(name: str, per_class: PerClass) -> Images:
        files, labels = with_labels(per_class)
        chosen = spread(len(files), most if split in (None, name) else 0)
        paths = [files[position] for position in chosen]
        images = read_images(paths, size, resize=resize, interpolation=interpolation)
        return Images(images, labels[chosen])

    return part("train", train), part("test", test), names


def with_labels(per_class: PerClass) -> tuple[list[Path], np.ndarray]:
    """List the files of all classes, in the order of the classes, with labels, int64 (n,)."""
    files = [file for class_files in per_class for file in class_files]
    return files, np.repeat(np.arange(len(per_class)), [len(files) for files in per_class])


def scan(folder: Path) -> tuple[tuple[str, ...], PerClass, PerClass]:
    """Find the image files of a folder.

    Two layouts are understood:

    - `train/CLASS/...` beside `test/CLASS/...` (or val/, validation/, valid/): the first of these
      that has the classes of train/ is the test set.
    - `CLASS/...`: every fifth image of each class, by name, is in the test set.

    Images may lie deeper, as in Tiny ImageNet's `CLASS/images/`. Its `val/images/` is sorted into
    classes by its `val_annotations.txt`. Hidden files are skipped.

    Returns:
        Class names in alphabetical order, and the training and test files of each class.

    Raises:
        InputError: another layout, or a class without images.
    """
    return _separate_test_folder(folder) or _every_fifth(folder)


def _separate_test_folder(folder: Path) -> tuple[tuple[str, ...], PerClass, PerClass] | None:
    candidates = [folder / name for name in _TEST_FOLDERS if (folder / name).is_dir()]
    if not ((folder / "train").is_dir() and candidates):
        return None
    names = _class_names(folder / "train")
    for tests in candidates:
        annotated = tests / _ANNOTATIONS
        if annotated.is_file() or _sub_folders(tests) == names:
            train = [_files(folder / "train" / name) for name in names]
            if annotated.is_file():
                return names, train, _annotated(annotated, names)
            return names, train, [_files(tests / name) for name in names]
    # The message is about the most likely folder: an unlabelled test/ may lie beside val/.
    nearest = max(candidates, key=lambda tests: len(set(names) & set(_sub_folders(tests))))
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
    test = [class_files[4::5] for class_files in files]
    if not any(test):
        raise InputError(
            f"{folder} has fewer than 5 images in every class, so none is left for the test set "
            "(every fifth is taken). Add images, or give train/ and test/ sub-folders."
        )
    train = [[file for i, file in enumerate(each) if i % 5 != 4] for each in files]
    return names, train, test


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
    # Tiny ImageNet has a text file with boxes beside images/, so only images/ is read.
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
