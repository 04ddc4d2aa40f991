"""Stream encoded images with tf.data, from a folder or from tensorflow_datasets.

A source makes tf.data datasets of small elements (a file name or a record). tf.data then reads
many of these at a time, with `Source.read`. The order of an epoch depends on its seed and number
only.
"""

import functools
import importlib
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_wrn.datasets import folders, loading
from keras_wrn.datasets.images import spread
from keras_wrn.errors import InputError
from keras_wrn.system.backend import leave_gpus

PREFIX = "tfds:"
TEST_SPLITS = ("test", "validation", "val")
WINDOW = 8192  # records that are shuffled at a time: 0.9 GB of ImageNet
FILES_AT_ONCE = 16
# Bytes and names: tensorflow_datasets/datasets/imagenet2012/checksums.tsv.
IMAGENET = (
    "ImageNet (ILSVRC 2012) is published by its owner, at https://image-net.org/download-images "
    "after registration, for non-commercial research and education only: "
    "ILSVRC2012_img_train.tar (147,897,477,120 bytes) and ILSVRC2012_img_val.tar (6,744,924,160 "
    "bytes)."
)
TINY_IMAGENET = (
    "Tiny ImageNet is offered at http://cs231n.stanford.edu/tiny-imagenet-200.zip (248 MB), "
    "without a licence of its own; its images are ImageNet's, which are for non-commercial "
    "research and education only. Give the folder that it unpacks to."
)
TFDS_BUILD = (
    "tensorflow_datasets reads the two files as they are: put them into MANUAL and run "
    "tfds build imagenet2012 --manual_dir=MANUAL, then use --dataset=tfds:imagenet2012."
)


class Source(Protocol):
    """A data set of encoded images with labels.

    Attributes:
        name: the name of the data set.
        class_names: the name of each label.
        images: the number of training images.
        test_images: the number of test images.
    """

    name: str
    class_names: tuple[str, ...]
    images: int
    test_images: int

    @property
    def files(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Paths as bytes, and labels, of "train" and "test"; empty where images have no files."""

    def epoch(self, seed: int, number: Any) -> Any:
        """All training images in the order of epoch `number`, an int64 tensor from 0."""

    def test(self, most: int | None = None) -> Any:
        """At most `most` test images, of all classes, always in the same order."""

    def read(self, element: Any) -> tuple[Any, Any, Any]:
        """Read an element: its encoded image, its label, and its file or data set."""


def open_source(name: str, data_dir: str | Path | None, most: int | None = None) -> Source:
    """Find a data set.

    Args:
        name: a folder, by its path or in `data_dir`; or "tfds:" and the name of a data set that
            tensorflow_datasets has prepared, such as "tfds:imagenet2012".
        data_dir: default ~/.keras/datasets, or ~/tensorflow_datasets.
        most: maximum number of training images, from all classes; None: no limit.

    Raises:
        InputError: there is no such data set, or it has an unknown layout.
    """
    leave_gpus()
    if name.startswith(PREFIX):
        return TfdsSource(name.removeprefix(PREFIX), data_dir, most)
    return FolderSource(name, data_dir, most)


class FolderSource:
    """A `Source` of image files in class folders, in the layouts of `folders.scan`."""

    def __init__(self, name: str, data_dir: str | Path | None, most: int | None) -> None:
        folder = _find_folder(name, data_dir)
        self.name = folder.resolve().name
        self.class_names, train, test = folders.scan(folder)
        self._train, self._test = _files_and_labels(train, most), _files_and_labels(test)
        self.images, self.test_images = len(self._train[0]), len(self._test[0])

    @property
    def files(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Paths as bytes, and labels, of "train" and "test"."""
        return {"train": self._train, "test": self._test}

    @functools.cached_property
    def _tensors(self) -> tuple[Any, Any]:
        """Training files and labels, as tensors outside of any graph."""
        import tensorflow as tf

        with tf.init_scope(), tf.device("cpu"):
            return tf.constant(self._train[0]), tf.constant(self._train[1])

    def epoch(self, seed: int, number: Any) -> Any:
        """A permutation of all training images."""
        import tensorflow as tf

        files, labels = self._tensors
        order = tf.random.experimental.stateless_shuffle(
            tf.range(self.images, dtype=tf.int64), seed=[seed, number]
        )
        return tf.data.Dataset.from_tensor_slices(order).map(lambda i: (files[i], labels[i]))

    def test(self, most: int | None = None) -> Any:
        """Test images in the order of their classes, spread evenly."""
        import tensorflow as tf

        chosen = spread(self.test_images, most)
        return tf.data.Dataset.from_tensor_slices((self._test[0][chosen], self._test[1][chosen]))

    def read(self, element: Any) -> tuple[Any, Any, Any]:
        """Read a file."""
        import tensorflow as tf

        file, label = element
        return tf.io.read_file(file), label, file


class TfdsSource:
    """A `Source` of TFRecords that tensorflow_datasets has prepared.

    Records are in random order in their files. An epoch reads the files in its own order, 16 at a
    time, and shuffles windows of 8,192 records. A run that resumes within an epoch reads the
    records before again, but does not decode them.
    """

    def __init__(self, name: str, data_dir: str | Path | None, most: int | None) -> None:
        tfds = _tfds()
        folder = None if data_dir is None else str(Path(data_dir).expanduser())
        where = folder or "~/tensorflow_datasets"
        try:
            builder = tfds.builder(name, data_dir=folder)
        except tfds.core.DatasetNotFoundError as error:
            raise InputError(
                f"tensorflow_datasets knows no data set {name!r}, and none is prepared in {where}. "
                f"Give its folder with --data_dir. {IMAGENET} {TFDS_BUILD}"
            ) from error
        splits = builder.info.splits
        tests = [split for split in TEST_SPLITS if split in splits]
        if "train" not in splits or not tests:
            raise InputError(
                f"tensorflow_datasets has {name} not prepared in {where}: there must be the splits "
                f"train and one of {', '.join(TEST_SPLITS)}. Found: {', '.join(splits) or 'none'}. "
                f"Run: tfds build {name}. {IMAGENET} {TFDS_BUILD}"
            )
        self.name = name
        self._features = builder.info.features
        self._check(tfds, builder.info)
        self.class_names = tuple(self._features["label"].names)
        count = splits["train"].num_examples
        # Records are in random order: the first ones are of all classes.
        self._train = splits["train" if most is None or most >= count else f"train[:{most}]"]
        self._decoders = {"image": tfds.decode.SkipDecoding()}
        labelled = [test for test in tests if len(tests) == 1 or self._has_labels(splits[test])]
        self._test = splits[(labelled or tests)[0]]
        self.images, self.test_images = self._train.num_examples, self._test.num_examples

    @property
    def files(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Nothing: the images are records."""
        return {}

    def _check(self, tfds: Any, info: Any) -> None:
        found = {name: self._features[name] for name in self._features}
        kinds = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
        if not all(isinstance(found.get(name), kind) for name, kind in kinds.items()):
            raise InputError(
                f"{self.name} of tensorflow_datasets must have an `image`, and a `label` of "
                f"classes. Received: {', '.join(found)}."
            )
        if info.file_format is not tfds.core.FileFormat.TFRECORD:
            raise InputError(
                f"{self.name} of tensorflow_datasets must be prepared as TFRecords. Received: "
                f"{info.file_format}. Run: tfds build {self.name} --file_format=tfrecord"
            )

    def _has_labels(self, split: Any) -> bool:
        """Whether the records are there and have labels; competitions' test sets have none."""
        import tensorflow as tf

        try:
            first = next(iter(self._records(*(part[0] for part in self._parts(split)))))
        except (tf.errors.NotFoundError, StopIteration, IndexError):
            return False
        return int(self.read(first)[1]) >= 0

    def epoch(self, seed: int, number: Any) -> Any:
        """The training records, with files and windows in the epoch's own order."""
        import tensorflow as tf

        shuffle = tf.random.experimental.stateless_shuffle
        parts = self._parts(self._train)
        order = shuffle(tf.range(len(parts[0])), seed=[seed, number])
        files = tf.data.Dataset.from_tensor_slices(tuple(tf.gather(p, order) for p in parts))
        records = files.interleave(
            self._records, cycle_length=FILES_AT_ONCE, block_length=FILES_AT_ONCE
        )

        def shuffled(window: Any, batch: Any) -> Any:
            # One seed for each window of each epoch.
            key = number * (self.images // WINDOW + 1) + window
            order = shuffle(tf.range(tf.shape(batch)[0]), seed=[seed + 1, key])
            return tf.gather(batch, order)

        return records.batch(WINDOW).enumerate().map(shuffled).unbatch()

    def test(self, most: int | None = None) -> Any:
        """The first test records of the files, which are in random order."""
        import tensorflow as tf

        files = tf.data.Dataset.from_tensor_slices(self._parts(self._test))
        return files.flat_map(self._records).take(-1 if most is None else most)

    def read(self, element: Any) -> tuple[Any, Any, Any]:
        """Take the image and label out of a record."""
        example = self._features.deserialize_example(element, decoders=self._decoders)
        return example["image"], example["label"], f"An image of {self.name}"

    def _parts(self, split: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Files, and how many records to skip and then to take of each."""
        parts = split.file_instructions
        return (
            np.array([part.filename for part in parts]),
            np.array([part.skip for part in parts], np.int64),
            np.array([part.take for part in parts], np.int64),
        )

    def _records(self, file: Any, skip: Any, take: Any) -> Any:
        import tensorflow as tf

        return tf.data.TFRecordDataset(file).skip(skip).take(take)


def _tfds() -> Any:
    try:
        return importlib.import_module("tensorflow_datasets")
    except ModuleNotFoundError as error:
        # tensorflow_datasets 4.9 uses importlib_resources without asking for it.
        raise InputError(
            f"A data set of tensorflow_datasets needs {error.name}, which is not installed. Run: "
            "pip install tensorflow-datasets importlib_resources"
        ) from error


def _find_folder(name: str, data_dir: str | Path | None) -> Path:
    try:
        return loading.find_folder(name, data_dir)
    except InputError as error:
        root = loading.default_dir() if data_dir is None else data_dir
        raise InputError(
            f"There is no folder {name}, neither here nor in {root} (--data_dir). It must have "
            f"train/CLASS/*.JPEG and val/CLASS/*.JPEG. {_offer(Path(name).name.lower())}".rstrip()
        ) from error


def _offer(name: str) -> str:
    """Where ImageNet is published, if a folder has its name; empty for other names."""
    if "imagenet" not in name and "ilsvrc" not in name:
        return ""
    if "tiny" in name:
        return TINY_IMAGENET
    return f"{IMAGENET} Unpack them into such folders, one for each class; or {TFDS_BUILD}"


def _files_and_labels(
    per_class: folders.PerClass, most: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """File names as bytes (n,), and labels, int64 (n,); at most `most`, spread evenly."""
    files, labels = folders.with_labels(per_class)
    chosen = spread(len(files), most)
    return np.array([os.fsencode(file) for file in files])[chosen], labels[chosen]
