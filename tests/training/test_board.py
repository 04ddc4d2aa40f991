"""What a run tells TensorBoard: norms, confusion matrix, recipe and result."""

import io
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from board_logs import board_logs
from PIL import Image

from keras_wrn import datasets
from keras_wrn.inference.classifier import class_probabilities
from keras_wrn.inference.trained import load_trained
from keras_wrn.optimizers import TorchSGD
from keras_wrn.training import board, pictures
from keras_wrn.training import run as training
from keras_wrn.training.board import Board
from keras_wrn.training.losses import ConfusionMatrix
from keras_wrn.training.recipe import Recipe
from keras_wrn.training.run_keeper import RunKeeper

pytest.importorskip("tensorboard")
pytestmark = pytest.mark.usefixtures("no_pictures")
PARTS = ("stem", "group1", "group2", "group3", "head")
TINY = Recipe(
    dataset="digits",
    depth=10,
    width=0.5,
    epochs=2,
    drop_epochs=(2,),
    batch_size=64,
    train_images=128,
    evaluate_every=2,
    flip=False,
)


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    """The folder of a run, and the confusion matrices that it drew."""
    if keras.config.backend() != "tensorflow":
        pytest.skip("the logs of a whole run are those of test_run.py")
    folder, counted = tmp_path_factory.mktemp("runs") / "tiny", []
    with pytest.MonkeyPatch.context() as patch:
        draw = pictures.confusion_matrix
        patch.setattr(
            pictures, "confusion_matrix", lambda *these: counted.append(these[0]) or draw(*these)
        )
        training.train(TINY, folder)
    return folder, counted


def test_norms_of_gradients_are_those_of_the_last_step(tmp_path):
    """The loss is the mean of all outputs' sum: every column of a kernel has the mean image."""
    keras.utils.set_random_seed(1)
    start = keras.Input((3,))
    layers = [
        keras.layers.Dense(units, use_bias=False, name=name)
        for name, units in (("stem_conv", 1), ("group1_a", 2), ("group1_b", 2), ("predictions", 9))
    ]
    model = keras.Model(start, keras.layers.Concatenate()([layer(start) for layer in layers]))
    model.confusion = None
    images = np.random.default_rng(0).normal(size=(3, 4, 3)).astype("float32")  # three steps
    optimizer = TorchSGD(0.1, momentum=0.9, weight_decay=0.05)
    model.compile(optimizer, loss=lambda _, outputs: keras.ops.sum(outputs, axis=-1))
    keeper = RunKeeper(tmp_path, SimpleNamespace(epochs=1, batch_size=4), 3)
    names = SimpleNamespace(class_names=())
    watched = SimpleNamespace(optimizer=optimizer, clone=model, preprocessing=names)
    model.fit(
        images.reshape(12, 3),
        np.zeros(12),
        batch_size=4,
        shuffle=False,
        verbose=0,
        callbacks=[keeper, Board(watched, keeper)],
    )
    found = board_logs(tmp_path)
    one = np.linalg.norm(images[2].mean(axis=0))
    for part, columns in (("stem", 1), ("group1", 4), ("head", 9)):
        gradient, weight = (found[f"train/{x}_norm/{part}"][1] for x in ("gradient", "weight"))
        assert gradient == pytest.approx(one * columns**0.5, rel=1e-4)
        kernels = [x.kernel for x in layers if x.name.startswith(part.replace("head", "pred"))]
        squares = [np.sum(keras.ops.convert_to_numpy(kernel) ** 2) for kernel in kernels]
        assert weight == pytest.approx(sum(squares) ** 0.5, rel=1e-5)


def test_a_run_logs_the_norms_of_each_part_each_epoch(tiny_run):
    found = board_logs(tiny_run[0])
    for part in PARTS:
        for kind in ("weight", "gradient"):
            values = found[f"train/{kind}_norm/{part}"]
            assert list(values) == [1, 2] and min(values.values()) > 0
    assert {tag.split("/")[2] for tag in found if "_norm/" in tag} == set(PARTS)


def test_the_confusion_matrix_is_of_the_validation(tiny_run):
    folder, counted = tiny_run
    assert len(counted) == 1  # every second epoch is evaluated
    trained, (images, labels) = load_trained(folder), datasets.load("digits").test
    taken_for = class_probabilities(trained.model, images, trained.preprocessing).argmax(axis=1)
    expected = np.zeros((10, 10), int)
    np.add.at(expected, (labels, taken_for), 1)
    assert counted[0].sum() == 360
    # The training clone rounds differently: an image between two classes may change sides.
    assert np.abs(counted[0] - expected).sum() <= 2
    (picture,) = board_logs(folder)["validation/confusion_matrix"].items()
    assert picture[0] == 2
    png = picture[1].tensor_proto.string_val[2]
    assert Image.open(io.BytesIO(png)).size == (480, 480)


def test_recipe_and_result_stand_side_by_side(tiny_run):
    from tensorboard.plugins.hparams import metadata

    folder, _ = tiny_run
    found = board_logs(folder)
    card = load_trained(folder).card["metrics"]
    assert found["final/final/error"][2] == pytest.approx(card["error"])
    assert found["final/final/nll"][2] == pytest.approx(card["nll"])
    assert "final/final/n" not in found
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "logs" / "final"))
    events.Reload()
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(content)
    assert start.hparams["width"].number_value == 0.5
    assert start.hparams["flip"].bool_value is False
    assert start.hparams["drop_epochs"].string_value == "2"
    assert start.hparams["blocks_per_group"].string_value == ""
    assert set(start.hparams) == set(TINY.to_dict())
    assert start.group_name == f"tiny in {folder.parent}"


def test_a_matrix_counts_labels_of_both_shapes_and_the_students_logits():
    matrix = ConfusionMatrix(3)
    logits = np.eye(6, dtype="float32")[[0, 1, 1, 2]]
    logits[:, 3:] = 9  # a teacher's
    matrix.update_state(np.array([0, 1, 2, 2]), logits)
    matrix.update_state(np.array([[0]]), logits[1:2])
    expected = [[1, 1, 0], [0, 1, 0], [0, 1, 1]]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(matrix.counts), expected)
    assert matrix.result() == {}
    matrix.reset_state()
    assert not keras.ops.convert_to_numpy(matrix.counts).any()


def test_the_picture_says_what_was_mistaken_most(drawn):
    pytest.importorskip("matplotlib")
    picture = pictures.confusion_matrix(np.array([[8, 2], [0, 10]]), ("cat", "dog"))
    assert picture.shape == (480, 480, 3) and picture.dtype == np.uint8
    red = (picture[:, :, 0].astype(int) - picture[:, :, 2]).reshape(2, 240, 2, 240)
    assert red.mean(axis=(1, 3)).argmax() == 1  # row cat, column dog


def test_names_that_matplotlib_cannot_read_are_drawn():
    pytest.importorskip("matplotlib")
    names = ("$5_$10", b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert pictures.confusion_matrix(np.eye(2, dtype=int), names).shape == (480, 480, 3)


def test_without_tensorboard_there_are_no_logs(tmp_path, monkeypatch):
    monkeypatch.setattr(board, "_installed", lambda: False)
    assert board.open_board(None, None, None) == []
    board.log_result(tmp_path, {"error": 0.1}, 1)
    assert not (tmp_path / "logs").exists()
