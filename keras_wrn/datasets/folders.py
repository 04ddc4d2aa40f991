"""Images in one sub-folder per class: find the files, or read them into memory."""

from pathlib import Path

import numpy as np

from keras_wrn.datasets.images import Images, spread
from keras_wrn.datasets.listing import image_files, say_passed_over, sub_folders
from keras_wrn.datasets.splits import find_splits
from keras_wrn.errors import InputError
from keras_wrn.images.pillow_reader import Size, read_images
from keras_wrn.system.backend import import_package
from keras_wrn.system.console import note

PerClass = list[list[Path]]  # the image files of each class
_ANNOTATIONS = "val_annotations.txt"  # Tiny ImageNet's list of file, class and box


def read(
    folder: Path,
    size: Size,
    *,
    channels: int = 3,
    resize: int | None = None,
    interpolation: str = "bilinear",
    split: str | None = None,
    most: int | None = None,
    hold_out: bool = True,
) -> tuple[Images, Images, tuple[str, ...]]:
    """Read the images of a folder into memory.

    Training and prediction read image files in the same way, with `pillow_reader.read_images`.

    Args:
        folder: a folder in one of the layouts of `scan`.
        size: height and width of the result in pixels: one number, or both.
        channels: 3 for RGB, 1 for grey.
        resize: pixels of the shorter side before the crop; None for the largest rectangle.
        interpolation: "bilinear" or "bicubic".
        split: "train" or "test" to read that one only; the other has no images then.
        most: maximum images per split, spread evenly; None: no limit.
        hold_out: as `scan` takes it.

    Returns:
        Training and test images, uint8 (n, height, width, channels), with labels, int64 (n,); and
        the class names in the order of `scan`.

    Raises:
        InputError: another layout, a class without images, or a file that is not an image.
    """
    import_package("PIL", "pillow", "Reading images")
    names, train, test = scan(folder, hold_out=hold_out)

    def part(name: str, per_class: PerClass) -> Images:
        files, labels = with_labels(per_class)
        chosen = spread(len(files), most if split in (None, name) else 0)
        paths = [files[position] for position in chosen]
        images = read_images(
            paths, size, channels=channels, resize=resize, interpolation=interpolation
        )
        return Images(images, labels[chosen])

    return part("train", train), part("test", test), names


def with_labels(per_class: PerClass) -> tuple[list[Path], np.ndarray]:
    """List the files of all classes, in the order of the classes, with labels, int64 (n,)."""
    files = [file for class_files in per_class for file in class_files]
    return files, np.repeat(
        np.arange(len(per_class), dtype=np.int64), [len(files) for files in per_class]
    )


def scan(folder: Path, *, hold_out: bool = True) -> tuple[tuple[str, ...], PerClass, PerClass]:
    """Find the image files of a folder.

    Two layouts are understood:

    - `train/CLASS/...` beside `test/CLASS/...`, with the names that `splits.find_splits` knows: the
      first test folder that has the classes of train/ is the test set; test/ goes before val/.
    - `CLASS/...`: every fifth image of each class, by name, is in the test set, which is said once
      on standard error; with `hold_out=False` all images are, and in the training set too.

    Images may lie deeper, as in Tiny ImageNet's `CLASS/images/`. Its `val/images/` is sorted into
    classes by its `val_annotations.txt`. Hidden files and folders, `__MACOSX` and the like, and
    files that are no images by their suffix are passed over; the files are named once on standard
    error.

    Returns:
        Class names in alphabetical order, or in the order of the numbers if all are whole numbers;
        and the training and test files of each class.

    Raises:
        InputError: another layout, folders that look like splits and are not understood, or a
            class without images.
    """
    passed_over: list[Path] = []
    splits = find_splits(folder)
    if splits is None:
        names, train, test = _flat(folder, hold_out, passed_over)
    else:
        names, train, test = _with_test_folder(*splits, passed_over)
    say_passed_over(folder, passed_over)
    return names, train, test


def _with_test_folder(
    training: Path, candidates: list[Path], passed_over: list[Path]
) -> tuple[tuple[str, ...], PerClass, PerClass]:
    names = _class_names(training)
    for tests in candidates:
        annotated = tests / _ANNOTATIONS
        if annotated.is_file() or sub_folders(tests) == names:
            train = [_files(training / name, passed_over) for name in names]
            if annotated.is_file():
                return names, train, _annotated(annotated, names)
            return names, train, [_files(tests / name, passed_over) for name in names]
    # The message is about the most likely folder: an unlabelled test/ may lie beside val/.
    nearest = max(candidates, key=lambda tests: len(set(names) & set(sub_folders(tests))))
    if not sub_folders(nearest):
        raise InputError(
            f"{nearest} must have a sub-folder for each class, as {training} has, but has "
            "none. ImageNet's validation images come so: sort them by their classes."
        )
    missing = sorted(set(names).symmetric_difference(sub_folders(nearest)))
    raise InputError(
        f"{nearest} must have the same class sub-folders as {training}. In only one of "
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


def _flat(
    folder: Path, hold_out: bool, passed_over: list[Path]
) -> tuple[tuple[str, ...], PerClass, PerClass]:
    names = _class_names(folder)
    files = [_files(folder / name, passed_over) for name in names]
    count = sum(map(len, files))
    if not hold_out:
        note(f"{folder} has no train/ and test/: all of its {count:,} images are taken.")
        return names, files, files
    test = [class_files[4::5] for class_files in files]
    if not any(test):
        raise InputError(
            f"{folder} has fewer than 5 images in every class, so none is left for the test set "
            "(every fifth is taken). Add images, or give train/ and test/ sub-folders."
        )
    note(
        f"{folder} has no train/ and test/: every fifth image of each class, "
        f"{sum(map(len, test)):,} of {count:,}, is in the test set."
    )
    train = [[file for i, file in enumerate(each) if i % 5 != 4] for each in files]
    return names, train, test


def _class_names(folder: Path) -> tuple[str, ...]:
    names = sub_folders(folder)
    if len(names) < 2:
        raise InputError(
            f"{folder} must have one sub-folder of images per class, at least two, directly or "
            f"in train/ and test/. Found sub-folders: {', '.join(names) or 'none'}."
        )
    return names


def _files(class_folder: Path, passed_over: list[Path]) -> list[Path]:
    others: list[Path] = []
    found = image_files(class_folder, others)
    if not found:
        names = f" Found: {', '.join(sorted(file.name for file in others)[:3])}." if others else ""
        raise InputError(f"The class folder {class_folder} has no images.{names}")
    # Tiny ImageNet has a text file with boxes beside the images of each class.
    passed_over += [file for file in others if not file.name.endswith("_boxes.txt")]
    return found
