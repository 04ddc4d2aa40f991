import keras
import numpy as np
import pytest
from quick_weights import give_random_weights, zeros_to_start_with
from tiny_run import DIGITS, random_images

import keras_wrn
from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import preprocess_input
from keras_wrn.inference.classifier import class_probabilities
from keras_wrn.insight.calibration import softmax
from keras_wrn.insight.ensembles import combine_logits, members_of
from keras_wrn.insight.graph import logits_function
from keras_wrn.insight.outputs import open_reader, read

IMAGES = random_images(5)


def network(seed=0, **options):
    with zeros_to_start_with():
        model = keras_wrn.WideResNet(10, 1, **options)
    give_random_weights(model, seed)
    return model


def probabilities(model, **options):
    return softmax(read(open_reader(model, DIGITS, **options), IMAGES).logits)


@pytest.fixture(scope="module")
def model():
    return network()


def test_logits_and_features_are_those_of_the_network(model):
    found = read(open_reader(model, DIGITS, batch_size=3), IMAGES)
    assert found.logits.shape == (5, 10) and found.features.shape == (5, 64)
    assert found.logits.dtype == found.features.dtype == np.float32
    expected = class_probabilities(model, IMAGES, DIGITS)
    assert expected.max() < 0.999  # something to compare
    np.testing.assert_allclose(softmax(found.logits), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["logits", "softmax layer", "nested", "sequential"])
def test_other_ends_and_models_inside_models(model, kind):
    expected = class_probabilities(model, IMAGES, DIGITS)
    other = network(classifier_activation=None)
    if kind == "softmax layer":
        other = keras.Model(other.input, keras.layers.Softmax()(other.output))
    elif kind == "nested":
        images = keras.Input((32, 32, 3))
        other = keras.Model(images, model(keras.layers.Rescaling(1.0)(images)))
    elif kind == "sequential":
        other = keras.Sequential([keras.Input((32, 32, 3)), model])
    np.testing.assert_allclose(probabilities(other), expected, atol=1e-5)


def test_a_network_with_another_end_is_refused(model):
    images = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D(name="mean")(images)
    with pytest.raises(InputError, match=r"ends in mean \(GlobalAveragePooling2D\)"):
        open_reader(keras.Model(images, pooled), DIGITS)
    sigmoid = network(classifier_activation="sigmoid")
    with pytest.raises(InputError, match="ends in predictions"):
        open_reader(sigmoid, DIGITS)


def test_a_network_that_diverged_is_refused():
    model = network()
    model.get_layer("predictions").bias.assign(np.full(10, np.nan, np.float32))
    with pytest.raises(InputError, match="must be finite"):
        probabilities(model)


def test_an_ensemble_is_the_mean_of_its_members(model):
    members = [model, network(1)]
    both = keras_wrn.ensemble(members)
    expected = np.mean([class_probabilities(m, IMAGES, DIGITS) for m in members], axis=0)
    np.testing.assert_allclose(class_probabilities(both, IMAGES, DIGITS), expected, atol=1e-6)
    np.testing.assert_allclose(probabilities(both), expected, atol=1e-5)
    reader = open_reader(both, DIGITS)
    found = read(reader, IMAGES)
    assert found.features.shape == (5, 2 * 64)
    means = [read(open_reader(m, DIGITS), IMAGES).logits for m in members]
    linear = found.features @ reader.head.kernel + reader.head.bias
    np.testing.assert_allclose(linear, np.mean(means, axis=0), rtol=1e-4, atol=1e-4)


def test_an_ensemble_loads_where_keras_wrn_is_not_installed(model, tmp_path):
    both = keras_wrn.ensemble([model, network(1)])
    both.save(tmp_path / "both.keras")
    loaded = keras.models.load_model(tmp_path / "both.keras")
    assert len(members_of(loaded)) == 2
    expected = class_probabilities(both, IMAGES, DIGITS)
    np.testing.assert_allclose(class_probabilities(loaded, IMAGES, DIGITS), expected, atol=1e-6)


def test_what_is_no_ensemble(model):
    with pytest.raises(InputError, match="two or more. Received: 1"):
        keras_wrn.ensemble([model])
    with pytest.raises(InputError, match="the same number of classes"):
        keras_wrn.ensemble([model, network(classes=7)])
    with pytest.raises(InputError, match="which does not end in a softmax"):
        keras_wrn.ensemble([model, network(classifier_activation=None)])
    with pytest.raises(InputError, match="Received: ensemble, an ensemble: give its members"):
        keras_wrn.ensemble([keras_wrn.ensemble([model, model]), model])


def test_combined_logits_keep_mean_probability_and_mean_energy():
    logits = np.random.default_rng(0).normal(0, 3, (4, 6, 5))
    found = combine_logits(logits)
    np.testing.assert_allclose(softmax(found), np.mean([softmax(each) for each in logits], axis=0))
    energies = np.log(np.exp(logits).sum(axis=-1)).mean(axis=0)
    np.testing.assert_allclose(np.log(np.exp(found).sum(axis=-1)), energies)


def test_flips_are_averaged(model):
    mirrored = class_probabilities(model, IMAGES[:, :, ::-1], DIGITS)
    expected = (class_probabilities(model, IMAGES, DIGITS) + mirrored) / 2
    np.testing.assert_allclose(probabilities(model, flip=True), expected, atol=1e-5)


def test_dropout_draws_anew_in_each_pass_and_is_seeded():
    model = network(dropout=0.3)
    plain = class_probabilities(model, IMAGES, DIGITS)
    reader = open_reader(model, DIGITS, dropout_passes=1)
    passes = [softmax(read(reader, IMAGES).logits) for _ in range(3)]
    assert np.abs(passes[0] - plain).max() > 1e-3
    assert np.abs(passes[0] - passes[1]).max() > 1e-3
    three = probabilities(model, dropout_passes=3)
    np.testing.assert_allclose(three, np.mean(passes, axis=0), atol=1e-5)
    assert np.abs(probabilities(model, dropout_passes=3, seed=1) - three).max() > 1e-3


def test_dropout_needs_a_network_that_has_it(model):
    with pytest.raises(InputError, match="needs a network with dropout"):
        probabilities(model, dropout_passes=3)
    with pytest.raises(InputError, match="a whole number from 0. Received: -1"):
        probabilities(model, dropout_passes=-1)


def test_other_kinds_of_dropout_and_quantised_layers_are_refused(model):
    planes = keras.layers.SpatialDropout2D(0.5, name="planes")(model.input)
    with pytest.raises(InputError, match=r"Received: planes \(SpatialDropout2D\)"):
        probabilities(keras.Model(model.input, model(planes)), dropout_passes=2)
    small = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    small.add(keras.layers.Dense(3, activation="softmax", name="predictions"))
    small.layers[-1].quantize("int8")
    for use in (lambda: open_reader(small, DIGITS), lambda: logits_function(small)):
        with pytest.raises(InputError, match="float weights. Received: predictions in int8"):
            use()


def test_attacks_follow_the_gradient_of_an_ensembles_mean(model):

    both = keras_wrn.ensemble([model, network(1)])
    logits = keras.ops.convert_to_numpy(logits_function(both)(preprocess_input(IMAGES, DIGITS)))
    np.testing.assert_allclose(
        softmax(logits), class_probabilities(both, IMAGES, DIGITS), atol=1e-5
    )
