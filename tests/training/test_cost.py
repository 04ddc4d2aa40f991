"""Operations are counted as one would by hand."""

import dataclasses

import keras_wrn
from keras_wrn.training.cost import multiply_adds, multiply_adds_of, training_flop
from keras_wrn.training.model import network_card
from keras_wrn.training.recipe import Recipe

RECIPE = Recipe(dataset="digits", depth=10, width=1, epochs=4, batch_size=32, drop_epochs=())
# Stem; three groups of two 3x3 convolutions; two projections; the classifier.
STEM, FIRST = 32 * 32 * 9 * 3 * 16, 2 * 32 * 32 * 9 * 16 * 16
SECOND = 16 * 16 * (9 * 16 * 32 + 9 * 32 * 32 + 16 * 32)
THIRD = 8 * 8 * (9 * 32 * 64 + 9 * 64 * 64 + 32 * 64)
WRN_10_1 = STEM + FIRST + SECOND + THIRD + 64 * 10


def _card(recipe, steps):
    network = network_card(recipe, (32, 32, 3), 10)
    return {"recipe": recipe.to_dict(), "network": network, "steps": steps}


def test_an_image():
    assert multiply_adds(keras_wrn.WideResNet(10, 1)) == WRN_10_1
    card = network_card(RECIPE, (32, 32, 3), 10)
    assert multiply_adds_of(card) == WRN_10_1
    # A quarter of the pixels, the same classifier.
    assert multiply_adds_of(card, 16) == (WRN_10_1 - 640) // 4 + 640


def test_a_run():
    assert training_flop(_card(RECIPE, steps=40)) == 6 * WRN_10_1 * 40 * 32
    sam = dataclasses.replace(RECIPE, sam=0.05)
    assert training_flop(_card(sam, steps=40)) == 2 * 6 * WRN_10_1 * 40 * 32


def test_each_size_counts_for_its_epochs():
    sizes = dataclasses.replace(RECIPE, train_sizes=(16, 32), size_epochs=(4,))
    small = (WRN_10_1 - 640) // 4 + 640
    # 10 steps an epoch, three epochs small and one large.
    assert training_flop(_card(sizes, steps=40)) == 6 * 32 * 10 * (3 * small + WRN_10_1)


def test_a_card_without_a_recipe_says_nothing():
    assert training_flop({"recipe": "by hand", "network": {}}) is None
