"""RetinaNet on wide ResNets: its features, its metric, and what is refused."""

import keras
import numpy as np
import pytest
from quick_weights import zero_kernels  # noqa: F401 - a fixture

import keras_wrn
from keras_wrn.errors import InputError

if keras.config.backend() != "tensorflow":
    pytest.skip("detection runs on TensorFlow only", allow_module_level=True)
keras_cv = pytest.importorskip("keras_cv", reason="keras-cv is not installed")
pytest.importorskip("pycocotools", reason="pycocotools is not installed")

from keras_wrn.detection import retinanet

SMALL = {"depth": 18, "width": 0.25, "image_size": 64}


def boxes_for_measuring():
    """Three images of two classes: class 0 is found in one image of two, nothing in the last."""
    truth = {
        "boxes": np.full((3, 2, 4), -1, np.float32),
        "classes": np.full((3, 2), -1, np.float32),
    }
    truth["boxes"][0], truth["classes"][0] = [[5, 5, 20, 20], [30, 30, 10, 30]], [0, 1]
    truth["boxes"][1, 0], truth["classes"][1, 0] = [8, 4, 30, 16], 1
    truth["boxes"][2, 0], truth["classes"][2, 0] = [1, 2, 40, 40], 0
    found = {
        "boxes": np.full((3, 3, 4), -1, np.float32),
        "classes": np.full((3, 3), -1, np.float32),
        "confidence": np.full((3, 3), -1, np.float32),
    }
    found["boxes"][0] = [[5, 6, 20, 20], [30, 32, 11, 30], [40, 5, 9, 9]]
    found["classes"][0], found["confidence"][0] = [0, 1, 1], [0.9, 0.8, 0.7]
    found["boxes"][1, 0], found["classes"][1, 0] = [8, 4, 30, 24], 1
    found["confidence"][1, 0] = 0.6
    return truth, found


def by_pycocotools(truth, found):
    """The same figure from pycocotools alone, given plain lists."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(boxes, **more):
        for i, k in zip(*np.nonzero(boxes["classes"] >= 0), strict=True):
            box = boxes["boxes"][i, k].tolist()
            label = int(boxes["classes"][i, k]) + 1
            yield {"image_id": int(i) + 1, "category_id": label, "bbox": box, **more}

    annotations = [
        {"id": n, "iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3], **row}
        for n, row in enumerate(rows(truth), start=1)
    ]
    scores = found["confidence"][found["classes"] >= 0].tolist()
    results = [{**row, "score": s} for row, s in zip(rows(found), scores, strict=True)]
    there = COCO()
    there.dataset = {
        "images": [{"id": i + 1} for i in range(len(truth["boxes"]))],
        "categories": [{"id": 1}, {"id": 2}],
        "annotations": annotations,
    }
    there.createIndex()
    evaluation = COCOeval(there, there.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return {"mAP": evaluation.stats[0], "mAP50": evaluation.stats[1], "mAP75": evaluation.stats[2]}


def test_the_metric_is_pycocotools_own():
    truth, found = boxes_for_measuring()
    theirs = by_pycocotools(truth, found)
    assert 0.2 < theirs["mAP"] < 0.6
    assert retinanet.box_coco_metrics(truth, found) == pytest.approx(theirs, abs=1e-6)


def test_a_photo_without_a_detection_counts():
    """keras-cv's metric alone leaves it out: this says when it no longer does."""
    truth, found = boxes_for_measuring()
    metric = keras_cv.metrics.BoxCOCOMetrics(bounding_box_format="xywh", evaluate_freq=1)
    metric.update_state(truth, found)
    alone = float(metric.result()["MaP"])
    assert alone > retinanet.box_coco_metrics(truth, found)["mAP"] + 0.1


def test_nothing_found_is_zero():
    truth, found = boxes_for_measuring()
    nothing = {key: np.full_like(values, -1) for key, values in found.items()}
    assert retinanet.box_coco_metrics(truth, nothing) == {"mAP": 0, "mAP50": 0, "mAP75": 0}


@pytest.mark.parametrize(
    ("depth", "width", "layers"),
    [
        (34, 0.25, ("block4_relu2", "block6_relu2", "block3_relu2")),
        (50, 2, ("4_relu3", "6_relu3", "3_relu3")),
    ],
)
@pytest.mark.usefixtures("zero_kernels")
def test_the_pyramid_has_strides_8_16_32(depth, width, layers):
    backbone = retinanet.WideResNetBackbone(depth, width, 64)
    for level, (key, ending) in enumerate(zip(("P3", "P4", "P5"), layers, strict=True), start=3):
        name = backbone.pyramid_level_inputs[key]
        assert name.startswith(f"group{level - 1}_") and ending in name
        assert backbone.get_layer(name).output.shape[1] == 64 // 2**level
    again = retinanet.WideResNetBackbone.from_config(backbone.get_config())
    assert again.pyramid_level_inputs == backbone.pyramid_level_inputs


def test_features_can_be_loaded(tmp_path):
    network = keras_wrn.WideResNet18(0.25, include_top=False)
    network.save_weights(tmp_path / "w.weights.h5")
    backbone = retinanet.WideResNetBackbone(18, 0.25, 64, weights=str(tmp_path / "w.weights.h5"))
    for ours, theirs in zip(backbone.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "options", [{"depth": 28}, {"depth": 50, "width": 3}, {"image_size": 100}, {"image_size": 0}]
)
def test_what_cannot_be_built_is_refused(options):
    with pytest.raises(InputError, match=r"must be .* Received"):
        retinanet.build_detector(3, **{**SMALL, **options})


def test_what_is_no_detector_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read as a detector"):
        retinanet.load_detector(tmp_path / "none.keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "a.keras")
    with pytest.raises(InputError, match="cannot be read as a detector: it holds a Sequential"):
        retinanet.load_detector(tmp_path / "a.keras")
