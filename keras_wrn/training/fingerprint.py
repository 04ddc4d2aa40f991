"""A cheap fingerprint of a run's data, so that a run does not go on with others."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_wrn.datasets.images import Images, spread

SIZES = 10_000  # files of a split whose sizes are read: a network drive takes a millisecond each
TEACHER = "teacher"
Split = dict[str, dict[str, Any]]


def fingerprint_images(class_names: Sequence[str], data: Images) -> Split:
    """Describe a split in memory.

    Args:
        class_names: the name of each label.
        data: its images and labels.

    Returns:
        For each class the number of "images" and, as "content", a hash of their pixels. That
        takes about a second for 2 GB.
    """
    hashes = [hashlib.sha256() for _ in class_names]
    for image, label in zip(data.images, data.labels, strict=True):
        hashes[label].update(np.ascontiguousarray(image))
    return split_of(class_names, data.labels, hashes)


def fingerprint_files(class_names: Sequence[str], files: np.ndarray, labels: np.ndarray) -> Split:
    """Describe a split of files that are streamed.

    Args:
        class_names: the name of each label.
        files: n paths, as bytes.
        labels: integers (n,).

    Returns:
        For each class the number of "images" and, as "content", a hash of their files' sizes and
        their names within the folder that holds the split. Of more than 10,000 files the sizes of
        10,000 are read, spread evenly.
    """
    root = os.path.commonpath([os.path.split(file)[0] for file in files])
    sized = set(spread(len(files), SIZES).tolist())
    hashes = [hashlib.sha256() for _ in class_names]
    for i, (file, label) in enumerate(zip(files, labels, strict=True)):
        size = Path(os.fsdecode(file)).stat().st_size if i in sized else ""
        hashes[label].update(os.path.relpath(file, root) + f" {size}\n".encode())
    return split_of(class_names, labels, hashes)


def split_of(class_names: Sequence[str], labels: np.ndarray, hashes: list[Any]) -> Split:
    """A split by its classes: the number of their images, whose labels these are, and a hash."""
    counts = np.bincount(labels, minlength=len(class_names))
    return {
        name: {"images": int(count), "content": digest.hexdigest()[:16]}
        for name, count, digest in zip(class_names, counts, hashes, strict=True)
    }


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say what differs between two fingerprints.

    Args:
        before: the stored fingerprint: the splits "train" and "test", and for distillation
            "teacher", the hash of its weights. What it does not have is not compared.
        now: that of the data as they are.

    Returns:
        A clause for each class that differs, and for the teacher; empty if nothing does.

    Example:
        >>> changes({"train": {"cat": {"images": 4}}}, {"train": {"cat": {"images": 5}}})
        ["train class 'cat' had 4 images and has 5"]
    """
    found = []
    if before.get(TEACHER) not in (None, now.get(TEACHER)):
        found.append("the teacher has other weights")
    for split in sorted({*before} - {TEACHER}, reverse=True):
        ours, theirs = now.get(split, {}), before[split]
        for name in sorted({*ours, *theirs}):
            one, other = theirs.get(name), ours.get(name)
            if one == other:
                continue
            if one is None or other is None:
                found.append(f"{split} class {name!r} is {'new' if one is None else 'gone'}")
            elif one["images"] != other["images"]:
                found.append(
                    f"{split} class {name!r} had {one['images']} images and has {other['images']}"
                )
            else:
                found.append(f"{split} class {name!r} has other content")
    return found
