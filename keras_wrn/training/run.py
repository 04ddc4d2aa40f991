"""`train(recipe, workdir)`: from a recipe to a run folder, through one `model.fit`."""

import gc
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import logging

from keras_wrn.applications.named import build_network
from keras_wrn.errors import InputError
from keras_wrn.images.tensorflow_reader import broken_images_named
from keras_wrn.system import machine
from keras_wrn.system.backend import float32
from keras_wrn.system.files import read_json, sha256, write_json, write_whole
from keras_wrn.training import callbacks, run_folder, run_keeper
from keras_wrn.training.batches import untuned
from keras_wrn.training.callbacks import WeightAverage
from keras_wrn.training.devices import device_scope, draw_apart
from keras_wrn.training.feeds import Feed, open_feed
from keras_wrn.training.model import TrainingModel, build, network_card
from keras_wrn.training.recipe import Recipe
from keras_wrn.weights.card import CARD_FILE, HELD_OUT, HISTORY_FILE, TEST_SET, WEIGHTS_FILE

SAMPLE_IMAGES = 16  # augmented images shown in TensorBoard


def train(
    recipe: Recipe,
    workdir: str | Path,
    *,
    data_dir: str | Path | None = None,
    save_every: float = run_keeper.SAVE_EVERY,
) -> dict[str, Any]:
    """Train the network of a recipe and leave everything about it in a folder.

    The same call again goes on where the run stopped, at the step; a finished run is left alone.
    SIGTERM and Ctrl-C save the state and raise `errors.Interrupted`.

    Args:
        recipe: what to train, on what, and how.
        workdir: the run folder, made if absent. Afterwards it holds recipe.json, history.csv,
            model.weights.h5, card.json, curves.png, predictions.png and logs/ for TensorBoard,
            and whitening.npz where the recipe whitens.
        data_dir: where the data set's files are; default ~/.keras/datasets.
        save_every: seconds between saved states.

    Returns:
        The card: network, recipe, versions, and the figures on the whole test set, measured
        from the stored weights after the last epoch. The test set chooses nothing.

    Raises:
        InputError: a recipe that cannot be run, missing or damaged data, or a folder of another
            run.
        Interrupted: the run was asked to stop; its state is saved.

    Example:
        >>> card = train(Recipe(dataset="digits", depth=10, width=1, epochs=1), "RUN")
        >>> card["metrics"]["n"]
        360
    """
    workdir = Path(workdir)
    run_folder.check_run(workdir, recipe.to_dict(), Recipe().to_dict())
    if (workdir / CARD_FILE).exists():
        logging.info("the run in %s is finished", workdir)
        return read_json(workdir / CARD_FILE)
    with broken_images_named(), float32():
        return _train(recipe, workdir, open_feed(recipe, data_dir), save_every)


def _train(recipe: Recipe, workdir: Path, feed: Feed, save_every: float) -> dict[str, Any]:
    _check_batch(recipe, feed.images)
    keras.utils.set_random_seed(recipe.seed)

    with device_scope(recipe) as replicas:
        steps = feed.images // recipe.batch_size
        trainer = build(recipe, feed.preprocessing, feed.shape, steps)
        # Nothing is written before all that can be refused has been.
        run_folder.open_run(workdir, recipe.to_dict(), Recipe().to_dict())
        average = WeightAverage(trainer.clone, recipe.average) if recipe.average else None
        keeper = run_keeper.RunKeeper(
            workdir, recipe, steps, average=average, save_every=save_every
        )
        keeper.restore(trainer.model)
        _fit(trainer, keeper, feed, replicas)
    learnt = average.weights if average else trainer.clone.get_weights()
    trainer.network.set_weights(learnt)
    return _finish(trainer, workdir, keeper, feed)


def _fit(trainer: TrainingModel, keeper: run_keeper.RunKeeper, feed: Feed, replicas: int) -> None:
    """Run the epochs that are left."""
    recipe = trainer.recipe
    watchers = _watchers(trainer, keeper, feed)
    if replicas > 1:
        draw_apart(trainer.model)
    keeper.catch_signals()
    try:
        for first, last, steps in keeper.stretches(recipe.size_epochs):
            trainer.compile_at(trainer.size_in(first))
            trainer.model.fit(
                untuned(feed.stream(keeper.step)),
                initial_epoch=first,
                epochs=last,
                steps_per_epoch=steps,
                shuffle=False,  # the stream is shuffled
                **feed.validation(replicas),
                validation_freq=recipe.evaluate_every,
                callbacks=watchers,
                verbose="auto" if sys.stdout.isatty() else 2,
            )
    finally:
        keeper.release_signals()
        # The endless streams' readers are threads of TensorFlow; none may outlive the run.
        gc.collect()


def _watchers(
    trainer: TrainingModel, keeper: run_keeper.RunKeeper, feed: Feed
) -> list[keras.callbacks.Callback]:
    recipe = trainer.recipe
    epoch, done = divmod(keeper.step, keeper.steps_per_epoch)
    watchers: list[keras.callbacks.Callback] = [keeper.average] if keeper.average else []
    watchers.append(keeper)
    if recipe.reset_velocity and recipe.schedule == "steps":
        watchers.append(callbacks.VelocityReset(recipe.drop_epochs, epoch if done else None))
    samples = None
    if keeper.step == 0:
        samples = trainer.augmented(next(iter(feed.stream(0)))[0][:SAMPLE_IMAGES])
    return watchers + callbacks.tensorboard(keeper.workdir, samples)


def _finish(trainer: TrainingModel, workdir: Path, keeper: run_keeper.RunKeeper, feed: Feed) -> Any:
    """Store the weights, measure them as stored, and write the card last of all."""
    recipe, preprocessing = trainer.recipe, trainer.preprocessing
    weights = workdir / WEIGHTS_FILE
    write_whole(weights, trainer.network.save_weights)
    described = network_card(recipe, feed.shape, len(preprocessing.class_names))
    network = build_network(described)
    network.load_weights(weights)
    metrics = feed.measure(network)
    card = {
        "format": 1,
        "name": recipe.network_name,
        "network": described,
        "dataset": feed.dataset,
        "preprocessing": preprocessing.to_card(workdir),
        "metrics": metrics,
        "metrics_of": HELD_OUT if recipe.held_out else TEST_SET,
        "parameters": sum(int(np.prod(v.shape)) for v in network.trainable_variables),
        "weights_sha256": sha256(weights),
        "recipe": recipe.to_dict(),
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "steps": keeper.step,
        "hours": round(keeper.seconds / 3600, 3),
        "cpu_hours": round(keeper.cpu_seconds / 3600, 3),
        "versions": machine.versions(),
        "hardware": machine.hardware(),
        "kept": "the moving average" if recipe.average else "the last epoch",
        "chosen_by": "the end of the run; the test set chose nothing",
    }
    _draw(network, workdir, feed, card)
    write_json(workdir / CARD_FILE, card)
    run_folder.forget_state(workdir)
    return read_json(workdir / CARD_FILE)


def _draw(network: keras.Model, workdir: Path, feed: Feed, card: dict[str, Any]) -> None:
    """The two pictures, where matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        logging.info("matplotlib is not installed: no pictures. pip install matplotlib")
        return
    from keras_wrn.training import pictures

    title = f"{card['name']} on {card['dataset']}"
    pictures.learning_curves(workdir / HISTORY_FILE, workdir / "curves.png", title)
    pictures.prediction_sheet(
        network, *feed.test, feed.preprocessing, workdir / "predictions.png", title=title
    )


def _check_batch(recipe: Recipe, images: int) -> None:
    if recipe.batch_size > images:
        raise InputError(
            f"`batch_size` must be at most the number of training images, {images}. "
            f"Received: batch_size={recipe.batch_size}"
        )
