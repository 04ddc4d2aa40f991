"""`train(recipe, workdir)`: from a recipe to a run folder, through one `model.fit`."""

import contextlib
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from absl import logging

from keras_wrn.applications import build_network
from keras_wrn.errors import InputError
from keras_wrn.images.tensorflow_reader import broken_images_named
from keras_wrn.networks.recognition import count_parameters
from keras_wrn.system import machine
from keras_wrn.system.backend import float32
from keras_wrn.system.files import read_json, sha256, write_json, write_whole
from keras_wrn.training import callbacks as run_callbacks
from keras_wrn.training import pictures, run_folder, run_keeper, workers
from keras_wrn.training.batches import untuned
from keras_wrn.training.board import log_result, open_board
from keras_wrn.training.devices import FirstStatistics, device_scope, draw_apart
from keras_wrn.training.feeds import Feed, open_feed
from keras_wrn.training.fingerprint import TEACHER
from keras_wrn.training.model import TrainingModel, build, network_card
from keras_wrn.training.recipe import Recipe
from keras_wrn.weights.card import (
    CARD_FILE,
    HELD_OUT,
    HISTORY_FILE,
    TEST_SET,
    WEIGHTS_FILE,
    Card,
    read_card,
)

SAMPLE_IMAGES = 16  # augmented images shown in TensorBoard


def train(
    recipe: Recipe,
    workdir: str | Path,
    *,
    data_dir: str | Path | None = None,
    save_every: float = run_keeper.SAVE_EVERY,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, Any]:
    """Train the network of a recipe and store everything about the run in a folder.

    The same call resumes a stopped run at its next step, and leaves a finished run as it is.
    SIGTERM and Ctrl-C save the state and raise `errors.Interrupted`.

    Args:
        recipe: the network, its data and how it is trained.
        workdir: the run folder, made if absent. At the end it holds recipe.json, data.json,
            history.csv, model.weights.h5, card.json, curves.png, predictions.png, logs/ for
            TensorBoard, and whitening.npz if the recipe whitens.
        data_dir: folder of the data set's files; default ~/.keras/datasets.
        save_every: seconds between saved states.
        callbacks: your own, called after the package's in each step and epoch, such as those of
            Weights & Biases. What they keep is not part of a saved state. One that sets
            `model.stop_training` ends the run, and the card says so. The sizes of `train_sizes`
            are one training to them; a resumed run begins anew.

    Returns:
        The card: network, recipe, versions, and the metrics of the stored weights on the whole
        test set after the last epoch. The test set chooses nothing.

    Raises:
        InputError: the recipe cannot be run, data are missing, damaged or changed since the run
            began, the folder belongs to another run or another process trains in it, or the loss
            is not finite.
        Interrupted: a signal stopped the run; its state is saved.

    Example:
        >>> card = train(Recipe(dataset="digits", depth=10, width=1, epochs=1), "RUN")
        >>> card["metrics"]["n"]
        360
    """
    workdir = Path(workdir)
    workers.cluster()  # before anything is computed
    run_folder.check_run(workdir, recipe.to_dict(), Recipe().to_dict())
    if (workdir / CARD_FILE).exists():
        logging.info("the run in %s is finished", workdir)
        return read_json(workdir / CARD_FILE)
    with broken_images_named(), float32(), workers.lost_workers_named():
        return _train(recipe, workdir, open_feed(recipe, data_dir), save_every, callbacks)


def _train(
    recipe: Recipe,
    workdir: Path,
    feed: Feed,
    save_every: float,
    own: Sequence[keras.callbacks.Callback],
) -> dict[str, Any]:
    if recipe.batch_size > feed.images:
        raise InputError(
            f"`batch_size` must be at most the number of training images, {feed.images}. "
            f"Received: batch_size={recipe.batch_size}"
        )
    keras.utils.set_random_seed(recipe.seed)
    with contextlib.ExitStack() as opened:
        with device_scope(recipe) as replicas:
            steps = feed.images // recipe.batch_size
            training_model = build(recipe, feed.preprocessing, feed.shape, steps)
            # All checks come first: a refused recipe leaves no folder behind.
            _open_folder(opened, workdir, recipe, feed)
            average = (
                run_callbacks.WeightAverage(training_model.clone, recipe.average)
                if recipe.average
                else None
            )
            keeper = run_keeper.RunKeeper(
                workdir, recipe, steps, average=average, save_every=save_every
            )
            keeper.restore(training_model.model)
            _fit(training_model, keeper, feed, replicas, own)
            if average:
                average.finish(training_model.model)
        training_model.network.set_weights(
            average.weights if average else training_model.clone.get_weights()
        )
        if (all_workers := workers.cluster()) is not None and not all_workers.is_chief:
            all_workers.wait_for(workdir / CARD_FILE)
            return read_json(workdir / CARD_FILE)
        return _finish(training_model, keeper, feed, replicas)


def _open_folder(opened: contextlib.ExitStack, workdir: Path, recipe: Recipe, feed: Feed) -> None:
    """Make the run's folder or resume in it, and lock it; of several workers, the chief does."""
    data: dict[str, Any] = feed.fingerprint
    if recipe.teacher:
        data = {**data, TEACHER: read_card(Path(recipe.teacher)).weights_sha256}
    run = run_folder.open_run(workdir, recipe.to_dict(), Recipe().to_dict(), data)
    all_workers = workers.cluster()
    if all_workers is None:
        opened.enter_context(run)
        return
    refusal: Exception | None = None
    if all_workers.is_chief:
        try:
            opened.enter_context(run)
        except (InputError, OSError) as error:
            refusal = error
    if all_workers.sum(refusal is not None):  # the others must not wait for a chief that has ended
        raise refusal or InputError(f"The first worker cannot use {workdir}. Its log says why.")
    all_workers.require_same_folder(workdir)
    all_workers.require_same_run(recipe.to_dict(), data)


def _fit(
    training_model: TrainingModel,
    keeper: run_keeper.RunKeeper,
    feed: Feed,
    replicas: int,
    own: Sequence[keras.callbacks.Callback],
) -> None:
    """Run the remaining epochs."""
    recipe = training_model.recipe
    of_caller = run_callbacks.OneTraining(own)
    watchers = [*_watchers(training_model, keeper, feed), of_caller]
    if replicas > 1:
        draw_apart(training_model.model)
        watchers.append(FirstStatistics())
    keeper.catch_signals()
    try:
        if keeper.unvalidated:
            _validate(training_model, *keeper.unvalidated, watchers, feed.validation(replicas))
        for first, last, steps in keeper.stretches(recipe.size_epochs):
            if training_model.model.stop_training:  # a callback of the caller has set it
                break
            training_model.compile_at(training_model.size_in(first))
            training_model.model.fit(
                _batches(feed, keeper.step, recipe, replicas),
                initial_epoch=first,
                epochs=last,
                steps_per_epoch=steps,
                shuffle=False,  # the stream is shuffled
                **feed.validation(replicas),
                validation_freq=recipe.evaluate_every,
                callbacks=watchers,
                verbose="auto" if sys.stdout.isatty() else 2,
            )
        of_caller.finish()
    finally:
        keeper.release_signals()
        # TensorFlow's reader threads of the endless streams must end with the run.
        gc.collect()


def _batches(feed: Feed, step: int, recipe: Recipe, replicas: int) -> Any:
    """The training batches from a step on; on several machines, this one's part of each."""
    all_workers = workers.cluster()
    if all_workers is None:
        return untuned(feed.stream(step, replicas=replicas))
    own = untuned(feed.stream(step, all_workers.part, replicas))
    return all_workers.share_out(own, recipe.batch_size)


def _validate(
    training_model: TrainingModel,
    epoch: int,
    means: dict[str, float],
    watchers: list[keras.callbacks.Callback],
    validation: dict[str, Any],
) -> None:
    """End an epoch, of these means, that a signal has stopped in its validation."""
    training_model.compile_at(training_model.size_in(epoch))
    model = training_model.model
    calls = keras.callbacks.CallbackList(watchers, model=model, epochs=training_model.recipe.epochs)
    calls.on_train_begin()
    calls.on_epoch_begin(epoch)
    measured = model.evaluate(
        validation["validation_data"], callbacks=calls, return_dict=True, verbose=0
    )
    calls.on_epoch_end(epoch, {**means, **{f"val_{k}": v for k, v in measured.items()}})
    calls.on_train_end()


def _watchers(
    training_model: TrainingModel, keeper: run_keeper.RunKeeper, feed: Feed
) -> list[keras.callbacks.Callback]:
    recipe = training_model.recipe
    watchers: list[keras.callbacks.Callback] = [keeper.average] if keeper.average else []
    watchers.append(keeper)
    if recipe.reset_velocity and recipe.schedule == "steps":
        watchers.append(run_callbacks.VelocityReset(recipe.drop_epochs, keeper.unfinished_epoch))
    samples = None
    if keeper.step == 0:  # on every worker, because it draws
        samples = training_model.augmented(next(iter(feed.stream(0)))[0][:SAMPLE_IMAGES])
    return watchers + open_board(training_model, keeper, samples)


def _finish(
    training_model: TrainingModel, keeper: run_keeper.RunKeeper, feed: Feed, replicas: int
) -> dict[str, Any]:
    """Store the weights, evaluate the stored file, and write the card last."""
    recipe, preprocessing, workdir = (
        training_model.recipe,
        training_model.preprocessing,
        keeper.workdir,
    )
    weights, epochs = workdir / WEIGHTS_FILE, keeper.step // keeper.steps_per_epoch
    write_whole(weights, training_model.network.save_weights)
    described = network_card(recipe, feed.shape, len(preprocessing.class_names))
    network = build_network(described)
    network.load_weights(weights)
    card = Card(
        name=recipe.network_name,
        network=described,
        dataset=feed.dataset,
        preprocessing=preprocessing.to_card(workdir),
        metrics=feed.measure(network),
        metrics_of=HELD_OUT if recipe.held_out else TEST_SET,
        parameters=count_parameters(network),
        weights_sha256=sha256(weights),
        recipe=recipe.to_dict(),
        seed=recipe.seed,
        epochs=epochs,
        steps=keeper.step,
        hours=round(keeper.seconds / 3600, 3),
        # A worker knows its own processors alone.
        cpu_hours=None if workers.cluster() else round(keeper.cpu_seconds / 3600, 3),
        versions=machine.versions(),
        hardware=workers.hardware(),
        kept=_kept(recipe, replicas),
        chosen_by="the end of the run; the test set chose nothing"
        if epochs == recipe.epochs
        else f"a callback, before the {recipe.epochs} epochs of the recipe",
    )
    if pictures.can_draw():
        _draw(network, workdir, feed, f"{card.name} on {card.dataset}")
    log_result(workdir, card.metrics or {}, epochs)
    write_json(workdir / CARD_FILE, card.to_dict())
    run_folder.forget_state(workdir)
    return read_json(workdir / CARD_FILE)


def _kept(recipe: Recipe, replicas: int) -> str:
    kept = "the moving average" if recipe.average else "the last epoch"
    if replicas == 1 or recipe.synchronized_bn or keras.config.backend() == "jax":
        return kept
    return f"{kept}; batch normalisation's statistics are those of the first of {replicas} devices"


def _draw(network: keras.Model, workdir: Path, feed: Feed, title: str) -> None:
    pictures.learning_curves(workdir / HISTORY_FILE, workdir / "curves.png", title)
    pictures.prediction_sheet(
        network, *feed.test, feed.preprocessing, workdir / "predictions.png", title=title
    )
