import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from quick_weights import give_random_weights, zeros_to_start_with
from tiny_run import DIGITS, random_images, write_run

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.inference.evaluation import measures
from keras_wrn.insight import sections
from keras_wrn.insight.calibration import softmax
from keras_wrn.insight.out_of_distribution import perturb
from keras_wrn.insight.outputs import open_reader, read, read_pixels
from keras_wrn.insight.separation import separation

N = 60
IMAGES = random_images(N)
LABELS = np.arange(N) % 10
OUT = random_images(40, seed=1) // 2


@pytest.fixture(scope="module")
def model():
    with zeros_to_start_with():
        network = keras_wrn.WideResNet(10, 1, dropout=0.1)
    give_random_weights(network)
    return network


@pytest.fixture(scope="module")
def found(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("assess")
    assessment = keras_wrn.assess(
        model,
        (IMAGES, LABELS),
        DIGITS,
        out={"dark & <dim>": OUT},
        corruptions=["brightness"],
        attacks=["fgsm"],
        robustness_images=20,
        json=folder / "found.json",
        html=folder / "found.html",
    )
    return assessment, folder


def test_figures_are_those_of_evaluate(model, found):
    figures = found[0].figures
    expected = keras_wrn.evaluate(model, IMAGES, LABELS, DIGITS)
    measured = figures["classification"] | figures["calibration"]
    assert {key: measured[key] for key in expected} == pytest.approx(expected, rel=1e-4)
    confusion = np.array(figures["classification"]["confusion"])
    assert confusion.sum() == N
    assert np.trace(confusion) == pytest.approx(N * (1 - expected["error"]))
    worst = figures["classification"]["per_class"][3]
    assert worst == {"name": "3", "n": 6, "error": 1 - confusion[3, 3] / 6}


def test_the_json_file_holds_the_figures(found):
    assessment, folder = found
    stored = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(assessment.figures))
    assert stored["versions"]["keras_wrn"] == keras_wrn.__version__


def test_nothing_is_scored_by_what_was_fitted_to_it(model, found):
    outputs = read(open_reader(model, DIGITS), IMAGES)
    others = read(open_reader(model, DIGITS), OUT)
    order = np.random.default_rng(0).permutation(N)
    halves = np.sort(order[: N // 2]), np.sort(order[N // 2 :])
    unit = [f / np.linalg.norm(f, axis=1, keepdims=True) for f in (outputs[1], others[1])]
    areas = []
    for fitted, measured in (halves, halves[::-1]):
        nearest = [(each @ unit[0][fitted].T).max(axis=1) for each in (unit[0][measured], unit[1])]
        areas.append(separation(*nearest)["auroc"])
    section = found[0].figures["out_of_distribution"]
    assert section["neighbours"] == 1
    assert section["sets"]["dark & <dim>"]["n"] == 40
    knn = section["sets"]["dark & <dim>"]["scores"]["knn"]["auroc"]
    assert knn == pytest.approx(np.mean(areas), abs=1e-3)


def test_corruptions_and_attacks_are_measured_on_the_first_images(model, found):
    from keras_wrn.insight.attacks import robust_error
    from keras_wrn.insight.corruptions import corruption_errors

    few, figures = (IMAGES[:20], LABELS[:20]), found[0].figures
    errors = corruption_errors(model, *few, DIGITS, corruptions=["brightness"])
    expected = {str(level): error for level, error in errors["brightness"].items()}
    assert figures["corruptions"]["errors"]["brightness"] == expected
    assert figures["corruptions"]["n"] == 20
    attacked = robust_error(model, *few, DIGITS, method="fgsm")
    assert figures["attacks"]["fgsm"] == attacked
    assert "no AutoAttack" in figures["attacks"]["note"]


def test_images_in_the_order_of_their_classes_are_spread(model, monkeypatch):
    order = np.argsort(LABELS, kind="stable")
    data = IMAGES[order], LABELS[order]
    seen = {}
    monkeypatch.setattr(
        "keras_wrn.insight.assessment.robust_error", lambda _, *few, **__: seen.update(few=few)
    )
    keras_wrn.assess(model, data, DIGITS, attacks=["fgsm"], robustness_images=20)
    images, labels = seen["few"][:2]
    assert len(images) == 20 and set(labels) == set(LABELS)
    keras_wrn.assess(model, data, DIGITS, attacks=["fgsm"], robustness_images=100)
    np.testing.assert_array_equal(seen["few"][0], data[0])


def test_the_page_needs_no_other_and_shows_what_was_measured(found):
    assessment, folder = found
    text = (folder / "found.html").read_text(encoding="utf-8")
    words = re.sub('base64,[^"]*', "", text)
    assert not re.search(r"https?:|//|<script|<link|@import|url\(", words)
    for title in ("Calibration", "Confusion matrix", "Worst mistakes", "Abstention"):
        assert f"<h2>{title}</h2>" in text
    for title in ("Out of distribution", "Corruptions", "Attacks", "Conditions"):
        assert f"<h2>{title}</h2>" in text
    assert "dark &amp; &lt;dim&gt;" in text and "<dim>" not in text
    assert f"{assessment.figures['classification']['error']:.2%}" in text
    pictures = re.findall("<svg.*?</svg>", text)
    assert len(pictures) == 7  # reliability, confusion, risk, three histograms, corruptions
    for picture in pictures:
        ElementTree.fromstring(picture)
        assert not re.search('"(nan|-?inf)', picture)
    mistakes = int(np.sum(assessment.probabilities.argmax(axis=1) != LABELS))
    assert text.count("data:image/png;base64,") == min(24, mistakes)


def test_held_out_and_training_images_take_the_place_of_halves(model):
    images = random_images(30, seed=2)
    labels = read(open_reader(model, DIGITS), images).logits.argmax(axis=1)
    labels[::3] = (labels[::3] + 1) % 10  # the network knows something, and not everything
    held = images, labels
    train = random_images(50, seed=3), LABELS[:50]
    figures = keras_wrn.assess(
        model, (IMAGES, LABELS), DIGITS, out={"dark": OUT}, held_out=held, train=train
    ).figures
    assert figures["conformal"]["calibrated_on"] == "30 held-out images"
    assert figures["out_of_distribution"]["fitted_on"] == "50 training images"
    temperature = figures["temperature"]
    assert temperature["fitted_on"] == "30 held-out images"
    logits = read(open_reader(model, DIGITS), IMAGES).logits / temperature["temperature"]
    nll = measures(softmax(logits), LABELS)["nll"]
    assert temperature["after"]["nll"] == pytest.approx(nll, rel=1e-6)


def test_the_images_that_are_reported_are_not_held_out(model):
    with pytest.raises(InputError, match="`held_out` must be other images than `data`"):
        keras_wrn.assess(model, (IMAGES, LABELS), DIGITS, held_out=(IMAGES, LABELS))


def test_odin_steps_towards_what_the_network_sees(model):
    reader = open_reader(model, DIGITS, batch_size=16)
    changed = perturb(reader, IMAGES[:20], 2.0)
    assert set(np.unique(np.abs(changed - IMAGES[:20]))) <= {0.0, 2.0}
    before, after = read(reader, IMAGES[:20]).logits, read_pixels(reader, changed).logits
    assert np.all(softmax(after / 1000).max(axis=1) > softmax(before / 1000).max(axis=1))
    outputs = read(reader, IMAGES)
    section, scores = sections.out_of_distribution(
        reader,
        IMAGES,
        outputs,
        {"dark": OUT[:8]},
        sections.make_folds(outputs, LABELS, (outputs, LABELS), seed=0),
        odin_epsilon=2.0,
        class_names=DIGITS.class_names,
    )
    np.testing.assert_allclose(
        scores[""]["odin"][:20], softmax(after / 1000).max(axis=1), rtol=1e-5
    )
    assert section["odin_epsilon"] == 2.0


def test_odin_steps_through_dropout():
    network = keras_wrn.WideResNet(10, 1, dropout=0.3)
    reader = open_reader(network, DIGITS, batch_size=8, dropout_passes=1)
    changed = perturb(reader, IMAGES[:8], 2.0)
    assert np.isfinite(read_pixels(reader, changed).logits).all()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"attacks": ["fgsm", "cw"]}, "`attacks` must be of fgsm, .* Received: cw"),
        ({"corruptions": ["rain"]}, "`corruptions` must be of gaussian_noise, .* Received: rain"),
        ({"robustness_images": 0}, "`robustness_images` must be a whole number from 1"),
        ({"epsilon": 0}, "`epsilon` must be above 0, in pixel values of 255"),
        ({"odin_epsilon": -1}, "`odin_epsilon` must be 0 or above"),
        ({"odin_epsilon": 0.3}, "are for other sets of images: give `out`"),
        ({"html": "."}, ". is a folder. Give the path of a file in it"),
    ],
)
def test_what_comes_last_is_refused_first(model, monkeypatch, wrong, sentence):
    monkeypatch.setattr("keras_wrn.insight.assessment.read", None)
    with pytest.raises(InputError, match=sentence):
        keras_wrn.assess(model, (IMAGES, LABELS), DIGITS, **wrong)


def test_a_run_brings_its_statistics_and_its_name(tmp_path):
    run = keras_wrn.load_trained(write_run(tmp_path / "run"))
    figures = keras_wrn.assess(run, (IMAGES, LABELS), flip=True).figures
    assert figures["model"] == "WRN-10-1"
    assert figures["averaged_over"] == {"flip": True, "dropout_passes": 0}
    assert "out_of_distribution" not in figures and "corruptions" not in figures


def test_an_assessment_of_many_classes_has_a_page(tmp_path):
    with zeros_to_start_with():
        model = keras_wrn.WideResNet(10, 1, classes=100)
    give_random_weights(model)
    keras_wrn.assess(model, (IMAGES, LABELS), "cifar100", html=tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "aquarium_fish" in text


def test_what_cannot_be_assessed(model, tmp_path):
    data = IMAGES, LABELS
    with pytest.raises(InputError, match="`preprocessing` must say"):
        keras_wrn.assess(model, data)
    with pytest.raises(InputError, match="`data` must be 20 images or more. Received: 19"):
        keras_wrn.assess(model, (IMAGES[:19], LABELS[:19]), DIGITS)
    with pytest.raises(InputError, match="a pair of images and labels"):
        keras_wrn.assess(model, IMAGES, DIGITS)
    with pytest.raises(InputError, match="The folder of a file must exist"):
        keras_wrn.assess(model, data, DIGITS, json=tmp_path / "absent" / "found.json")
    with pytest.raises(InputError, match="one whole number for each of the 60 images"):
        keras_wrn.assess(model, (IMAGES, LABELS[:50]), DIGITS)


def test_suspect_labels_are_found_by_cleanlab():
    pytest.importorskip("cleanlab", reason="cleanlab is not installed")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    probabilities = np.full((300, 3), 0.05)
    probabilities[np.arange(300), labels] = 0.9
    labels[7] = (labels[7] + 1) % 3
    assert sections.label_errors(probabilities, labels) == {"n": 1, "indices": [7]}


def test_suspect_labels_need_cleanlab(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cleanlab.filter", None)
    with pytest.raises(InputError, match="needs cleanlab, which is not installed"):
        sections.label_errors(np.eye(3), np.arange(3))
