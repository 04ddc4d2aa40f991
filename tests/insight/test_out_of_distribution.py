import numpy as np
import pytest

from keras_wrn.errors import InputError
from keras_wrn.insight import out_of_distribution as ood
from keras_wrn.insight.outputs import Head, Outputs


@pytest.fixture(scope="module")
def world():
    """Features of three classes, (600, 16), what a linear head makes of them, and others'."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 3, (3, 16))
    labels = rng.integers(0, 3, 600)
    features = centres[labels] + rng.normal(0, 1, (600, 16))
    head = Head(np.float32(centres.T / 4), rng.normal(0, 1, 3).astype(np.float32))
    others = rng.normal(0, 3, (200, 16))
    inside = Outputs(features @ head.kernel + head.bias, features)
    return inside, labels, head, Outputs(others @ head.kernel + head.bias, others)


def test_scores_of_logits_are_those_of_their_definitions():
    logits = np.array([[1.0, 2.0, 5.0], [0.0, 0.0, 0.0]], np.float32)
    exponentials = np.exp(logits.astype(float))
    shares = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ood.max_softmax(logits), shares.max(axis=1))
    np.testing.assert_allclose(ood.max_logit(logits), [5, 0])
    np.testing.assert_allclose(ood.energy(logits), np.log(exponentials.sum(axis=1)))
    np.testing.assert_allclose(ood.odin(logits, 2.0), ood.max_softmax(logits / 2))
    assert np.isfinite(ood.energy(logits * 1e4)).all()


def test_neighbours_are_those_of_sklearn(world, monkeypatch):
    neighbors = pytest.importorskip("sklearn.neighbors", reason="scikit-learn is not installed")
    inside, _, _, others = world
    unit = [
        f / np.linalg.norm(f, axis=1, keepdims=True) for f in (inside.features, others.features)
    ]
    search = neighbors.NearestNeighbors(n_neighbors=50, algorithm="brute").fit(unit[0])
    expected = -search.kneighbors(unit[1])[0][:, -1]
    monkeypatch.setattr(ood, "_BLOCK", 64)  # several blocks, the last one short
    found = ood.fit_nearest_neighbours(inside.features)(others)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_neighbour_must_exist(world):
    inside = world[0]
    for k in (0, 601, True, 2.0):
        with pytest.raises(InputError, match="1 to the number of images, 600"):
            ood.fit_nearest_neighbours(inside.features, k)


def test_mahalanobis_is_that_of_sklearn(world):
    covariance = pytest.importorskip("sklearn.covariance", reason="scikit-learn is not installed")
    inside, labels, _, others = world
    means = np.stack([inside.features[labels == c].mean(axis=0) for c in range(3)])
    fitted = covariance.EmpiricalCovariance(assume_centered=True).fit(
        inside.features - means[labels]
    )
    distances = np.stack([fitted.mahalanobis(others.features - mean) for mean in means])
    found = ood.fit_mahalanobis(inside.features, labels)(others)
    np.testing.assert_allclose(found, -distances.min(axis=0), rtol=1e-6)


def test_mahalanobis_leaves_out_what_never_varies(world):
    inside, labels, _, others = world
    wider = [np.concatenate([f, np.full((len(f), 1), 7.0)], axis=1) for f in (inside[1], others[1])]
    found = ood.fit_mahalanobis(wider[0], labels)(Outputs(others.logits, wider[1]))
    expected = ood.fit_mahalanobis(inside.features, labels)(others)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_vim_is_that_of_its_definition(world):
    inside, _, head, others = world
    origin = -np.linalg.pinv(head.kernel.T.astype(float)) @ head.bias
    centred = inside.features - origin
    values, vectors = np.linalg.eig(centred.T @ centred / len(centred))
    rest = vectors.real[:, np.argsort(-values.real)[8:]]
    residual = np.linalg.norm(centred @ rest, axis=1)
    alpha = inside.logits.max(axis=1).mean() / residual.mean()
    virtual = alpha * np.linalg.norm((others.features - origin) @ rest, axis=1)
    expected = ood.energy(others.logits) - virtual
    found = ood.fit_vim(inside, head)(others)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_vim_of_fewer_images_than_dimensions_is_the_energy(world):
    inside, _, head, others = world
    few = Outputs(inside.logits[:8], inside.features[:8])  # the space has 8 dimensions
    np.testing.assert_array_equal(ood.fit_vim(few, head)(others), ood.energy(others.logits))


def test_every_score_is_higher_inside(world):
    inside, labels, head, others = world
    fitted = Outputs(inside.logits[:400], inside.features[:400])
    functions = ood.fit_scores(fitted, labels[:400], head, k=10)
    names = ["max_softmax", "max_logit", "energy", "odin", "mahalanobis", "knn", "vim"]
    assert list(functions) == names
    fresh = Outputs(inside.logits[400:], inside.features[400:])
    for name, function in functions.items():
        assert np.median(function(fresh)) > np.median(function(others)), name


def test_a_network_without_features_has_scores_that_are_finite():
    nothing = Outputs(np.zeros((8, 2), np.float32), np.zeros((8, 4), np.float32))
    head = Head(np.zeros((4, 2), np.float32), np.zeros(2, np.float32))
    for function in ood.fit_scores(nothing, np.arange(8) % 2, head, 1).values():
        assert np.isfinite(function(nothing)).all()
