"""keras-cv's RetinaNet on the features of a Wide ResNet (the paper's Table 9, COCO).

The paper put WRN-34-2 into MultiPathNet with AttractioNet's proposals. Here the same features are
in a RetinaNet (Lin et al., arXiv:1708.02002), so the paper's 35.2 mAP is not of this detector.
keras-cv is frozen at 0.9.0 and has four faults:

* Its default decoder drops a box that overlaps a more confident one of any class. Ours works class
  by class, with a threshold low enough for average precision.
* `BoxCOCOMetrics` leaves out photos without a detection, and the boxes missed in them.
* `PyCOCOCallback` drops class 0. It is not used.
* The metric `percent_boxes_matched_with_anchor` is inverted: 0 means all.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_wrn.applications import wide_resnet_imagenet as networks
from keras_wrn.deploy.saved_model import version_folder, write_version
from keras_wrn.deploy.serving_graph import with_one_image
from keras_wrn.detection import photos
from keras_wrn.errors import InputError
from keras_wrn.images import graph_decoder
from keras_wrn.images.preprocessing import normalization, preprocessing_of

if keras.config.backend() != "tensorflow":
    raise InputError(
        'Detection runs on TensorFlow only: pip install "keras-wide-resnet[tf-cpu,detection]" '
        f"and set KERAS_BACKEND=tensorflow. Received: KERAS_BACKEND={keras.config.backend()}."
    )
try:
    import keras_cv
    import pycocotools  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        f"Detection needs {error.name}, which is not installed. Run: "
        'pip install "keras-wide-resnet[detection]"'
    ) from error
BOX_FORMAT = "xywh"  # left, top, width, height in pixels: COCO's
STRIDE = 32  # pixels, of the coarsest feature map of the backbone
DETECTIONS = 100  # maximum per image, COCO's limit
CONFIDENCE = 0.05  # the least confidence that is kept; RetinaNet's, section 4.1
OVERLAP = 0.5  # IoU above which the less confident of two boxes of a class is dropped; ibid.
_BASIC = {18: networks.WideResNet18, 34: networks.WideResNet34}
_BOTTLENECK = {50: networks.WideResNet50_2, 101: networks.WideResNet101_2}
_FIGURES = {"mAP": "MaP", "mAP50": "MaP@[IoU=50]", "mAP75": "MaP@[IoU=75]"}


@keras.saving.register_keras_serializable("keras_wrn")
class WideResNetBackbone(keras_cv.models.Backbone):
    """An ImageNet wide ResNet with its normalisation, as a backbone for keras-cv's detectors.

    Args:
        depth: 18 or 34 with basic blocks, 50 or 101 with bottlenecks.
        width: the widening factor; 2 for depths 50 and 101.
        image_size: sides of the images in pixels, a multiple of 32.
        weights: initial weights, as in `WideResNet50_2`: "imagenet" for depths 50 and 101, or a
            path; None for random values.
        **options: `name` and `trainable`, as of any model.

    Raises:
        InputError: there is no such network, or `image_size` is no multiple of 32.

    Example:
        >>> WideResNetBackbone(18, 1, 224).pyramid_level_inputs["P3"]
        'group2_block2_relu2'
    """

    def __init__(
        self,
        depth: int = 34,
        width: float = 2.0,
        image_size: int = 512,
        *,
        weights: str | None = None,
        **options: Any,
    ) -> None:
        if depth not in _BASIC and (depth not in _BOTTLENECK or width != 2):
            raise InputError(
                "`depth` must be 18 or 34, of any width, or 50 or 101 of width 2. "
                f"Received: depth={depth}, width={width}"
            )
        if image_size < STRIDE or image_size % STRIDE:
            raise InputError(
                f"`image_size` must be a multiple of {STRIDE} pixels, so that each feature map "
                f"is half of the one before. Received: image_size={image_size}"
            )
        images = keras.Input((image_size, image_size, 3), name="images")
        normalised = normalization(preprocessing_of("imagenet"))(images)
        arguments = {"include_top": False, "input_tensor": normalised, "weights": weights}
        if depth in _BASIC:
            arguments["width"] = width
        network = (_BASIC | _BOTTLENECK)[depth](**arguments)
        super().__init__(inputs=images, outputs=network.output, **options)
        self.depth, self.width, self.image_size = depth, width, image_size
        # Each group's last layer: feature maps 8, 16 and 32 times smaller than the image.
        last = {layer.name.partition("_")[0]: layer.name for layer in network.layers}
        self.pyramid_level_inputs = {f"P{group + 1}": last[f"group{group}"] for group in (2, 3, 4)}

    def get_config(self) -> dict[str, Any]:
        """The arguments that build the same network, without its initial weights."""
        own = {"depth": self.depth, "width": self.width, "image_size": self.image_size}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("keras_wrn")
class Detector(keras_cv.models.RetinaNet):
    """keras-cv's RetinaNet, which takes images without a warning."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Raw outputs, which `predict` decodes. RetinaNet is built on a dict but fed images."""
        inputs = inputs if isinstance(inputs, dict) else {"images": inputs}
        return super().call(inputs, training=training, mask=mask)


def build_detector(classes: int, *, anchor_size: float | None = None, **backbone: Any) -> Detector:
    """Build a RetinaNet on the features of a wide ResNet.

    Args:
        classes: the number of classes.
        anchor_size: side of the smallest of five anchor boxes, in pixels; each next is twice as
            large. A box of less than 0.5 IoU with every anchor is not learnt. Default: RetinaNet's
            32 for images from 512 pixels, 16 for images up to 256.
        **backbone: depth, width, image_size and weights of `WideResNetBackbone`.

    Returns:
        A model of images (batch, image_size, image_size, 3) in 0..255, uint8 or float32. Its
        `predict` returns "boxes" (batch, 100, 4), "classes" and "confidence" (batch, 100), padded
        with -1, and "num_detections" (batch,). `compile_detector` prepares it for training.

    Example:
        >>> detector = build_detector(80, depth=18, width=0.25, image_size=64)
        >>> detector.predict(np.zeros((1, 64, 64, 3), "uint8"), verbose=0)["boxes"].shape
        (1, 100, 4)
    """
    features = WideResNetBackbone(**backbone)
    smallest = anchor_size or min(32.0, max(16.0, features.image_size / 16))
    return Detector(
        features,
        num_classes=classes,
        bounding_box_format=BOX_FORMAT,
        anchor_generator=keras_cv.layers.AnchorGenerator(
            BOX_FORMAT,
            sizes=[smallest * 2**level for level in range(5)],
            scales=[2 ** (third / 3) for third in range(3)],
            aspect_ratios=[0.5, 1.0, 2.0],
            strides=[2**level for level in range(3, 8)],
            clip_boxes=True,
        ),
        prediction_decoder=keras_cv.layers.MultiClassNonMaxSuppression(
            BOX_FORMAT,
            from_logits=True,
            iou_threshold=OVERLAP,
            confidence_threshold=CONFIDENCE,
            max_detections=DETECTIONS,
            max_detections_per_class=DETECTIONS,
        ),
    )


def compile_detector(detector: Detector, learning_rate: Any) -> None:
    """Compile a detector for training: Adam, with gradients clipped to norm 10.

    It has no metrics, because keras-cv would decode and measure in each training step.

    Args:
        detector: of `build_detector`.
        learning_rate: a number or a schedule.
    """
    detector.compile(
        optimizer=keras.optimizers.Adam(learning_rate, global_clipnorm=10.0),
        classification_loss="focal",
        box_loss="smoothl1",
        jit_compile=False,
    )
    # Adam and the two losses have their variables before the first step; if that step made them,
    # TensorFlow would trace it twice.
    detector.optimizer.build(detector.trainable_variables)
    image = np.zeros((1, *detector.backbone.input_shape[1:]), np.float32)
    truth = {"boxes": np.ones((1, 1, 4), np.float32), "classes": np.zeros((1, 1), np.float32)}
    detector.compute_loss(image, truth, detector(image), None)


def load_detector(path: Path) -> Detector:
    """Read a detector from a `.keras` file, for `predict`.

    Raises:
        InputError: the file is missing, damaged, or holds something else.
    """
    try:
        # RetinaNet's own `compile` cannot be restored from a file.
        detector = keras.models.load_model(path, compile=False)
        if not isinstance(detector, Detector):
            raise TypeError(f"it holds a {type(detector).__name__}.")
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read as a detector: {error}") from error
    return detector


def box_coco_metrics(
    truth: dict[str, np.ndarray], detections: dict[str, np.ndarray]
) -> dict[str, float]:
    """Measure "mAP" (at IoU 0.5 to 0.95), "mAP50" and "mAP75" by keras-cv's BoxCOCOMetrics.

    Args:
        truth: float32 "boxes" (images, n, 4) and "classes" (images, n), padded with -1.
        detections: the same, with "confidence" (images, n).

    Returns:
        Fractions from 0 to 1.
    """
    # keras-cv only measures images with a detection. So each gets one of a class that does not
    # exist, which is neither right nor wrong.
    ones = np.ones((len(detections["boxes"]), 1), np.float32)
    extra = {"boxes": np.stack([ones] * 4, -1), "classes": -ones, "confidence": ones}
    counted = {key: np.concatenate([extra[key], detections[key]], 1) for key in extra}
    metric = keras_cv.metrics.BoxCOCOMetrics(bounding_box_format=BOX_FORMAT, evaluate_freq=1)
    metric.update_state(truth, counted)
    figures = metric.result()
    return {name: float(figures[theirs]) for name, theirs in _FIGURES.items()}


def export_detector(
    detector: Detector, directory: Path, class_names: Sequence[str], *, version: int = 1
) -> None:
    """Write directory/version as a SavedModel for TF Serving, whole or not at all.

    "serving_default" takes `images`, uint8 (n, size, size, 3), as `photos.letterbox` makes them.
    "serving_bytes" takes `image_bytes`, strings (n,), encoded photos of any size. Both return
    `boxes`, float32 (n, 100, 4), left, top, width and height in pixels of the given images;
    `confidence` and `classes`, float32 (n, 100); all three padded with -1; `labels`, strings
    (n, 100); and `num_detections`, int32 (n,). "serving_bytes" also returns `valid`, int32 (n,):
    0 for a file that is not `graph_decoder.READABLE`, which has no detections.

    Args:
        detector: the detector.
        directory: the folder of the served model; it is made.
        class_names: the name of each class.
        version: a whole number from 1.

    Raises:
        InputError: the version exists.
    """
    import tensorflow as tf

    target = version_folder(directory, version)
    size, labels = detector.backbone.image_size, tf.constant(["", *class_names])

    def serving_default(images: Any) -> dict[str, Any]:
        count = tf.shape(images)[0]
        images = tf.cast(with_one_image(images), tf.float32)
        found = detector.decode_predictions(detector(images, training=False), images)
        found["labels"] = tf.gather(labels, tf.cast(found["classes"], tf.int32) + 1)
        return {name: values[:count] for name, values in found.items()}

    def read(encoded: Any) -> Any:
        image, valid = graph_decoder.decode_if_valid(encoded, 3)
        longer = tf.cast(tf.reduce_max(tf.shape(image)[:2]), tf.float32)
        return photos.letterbox(image, size), longer / size, valid

    def serving_bytes(image_bytes: Any) -> dict[str, Any]:
        kinds = [((size, size, 3), tf.uint8), ((), tf.float32), ((), tf.int32)]
        specs = tuple(tf.TensorSpec(*kind) for kind in kinds)
        images, scales, valid = tf.map_fn(read, image_bytes, fn_output_signature=specs)
        found = serving_default(images)
        known = (found["classes"] >= 0) & (valid[:, None] > 0)
        boxes = found["boxes"] * scales[:, None, None]
        return {
            "boxes": tf.where(known[..., None], boxes, -1.0),
            "confidence": tf.where(known, found["confidence"], -1.0),
            "classes": tf.where(known, found["classes"], -1.0),
            "labels": tf.where(known, found["labels"], ""),
            "num_detections": found["num_detections"] * valid,
            "valid": valid,
        }

    archive = keras.export.ExportArchive()
    archive.track(detector)
    images = tf.TensorSpec((None, size, size, 3), tf.uint8, name="images")
    archive.add_endpoint("serving_default", serving_default, input_signature=[images])
    encoded = tf.TensorSpec((None,), tf.string, name="image_bytes")
    archive.add_endpoint("serving_bytes", serving_bytes, input_signature=[encoded])
    write_version(archive, target)
