"""The command `assess`: error, calibration, abstention, out-of-distribution, robustness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_wrn.cli.model_commands import add_model_command, load
from keras_wrn.errors import InputError

if TYPE_CHECKING:
    import argparse

    from keras_wrn.inference.trained import Trained
    from keras_wrn.insight.sections import Assessment

OWN = "own"
PRINT = "-"


def add_assess(commands: Any) -> None:
    """Add `assess` to the command line."""
    parser = add_model_command(
        commands, "assess", "[run] [run ...]", "measure all that a network is judged by"
    )
    parser.description = (
        "Measure error, calibration, risk against coverage, conformal sets, and, where they are "
        "asked for, out-of-distribution detection, corruptions and attacks. Several runs are "
        "assessed as one ensemble."
    )
    add = parser.add_argument
    add("--data_dir", help="folder of the data sets' files")
    add(
        "--out",
        default="",
        help="other sets, with commas between: data sets, folders, .npy or .mat files, noise; "
        "svhn=FILE gives a file a name",
    )
    add(
        "--held_out",
        help="data set whose test images the temperature is fitted to, or own: the training images "
        "that the run's recipe held out (default: halves of the test set, crosswise)",
    )
    add(
        "--train_images",
        type=int,
        default=0,
        help="training images that Mahalanobis, kNN and ViM are fitted to (0: halves, crosswise)",
    )
    add(
        "--store_in",
        metavar="FOLDER",
        help="write the temperature of --held_out into the card of this folder: the run itself, or "
        "a run or published weights of the same recipe without held_out",
    )
    add("--corruptions", action="store_true", help="the 15 of CIFAR-10-C, at 5 severities")
    add("--attacks", action="store_true", help="FGSM and PGD-20 of 8/255")
    add(
        "--robustness_images",
        type=int,
        default=1000,
        help="images that are corrupted and attacked: the first, of folders spread (1000)",
    )
    add("--label_errors", action="store_true", help="look for wrong labels, by cleanlab")
    add("--flip", action="store_true", help="average over mirror images")
    add("--dropout_passes", type=int, default=0, help="average over draws of dropout (0)")
    add(
        "--odin_epsilon",
        type=float,
        default=0.0,
        help="ODIN's step in pixel values of 255; the paper's is 0.357 (0)",
    )
    add("--batch_size", type=int, default=250, help="images per step (250)")
    add(
        "--json",
        metavar="FILE",
        nargs="?",
        const=PRINT,
        help="file for all figures; without a file, print them in place of the summary",
    )
    add("--html", metavar="FILE", help="file for the page")
    parser.set_defaults(answer=_assess)


def _assess(arguments: argparse.Namespace) -> str:
    trained, others = load(arguments, measures=True)
    from keras_wrn.inference.classifier import shape_of
    from keras_wrn.inference.own_images import check_classes, images_of
    from keras_wrn.insight.assessment import assess
    from keras_wrn.insight.corruptions import CORRUPTIONS
    from keras_wrn.insight.ensembles import ensemble
    from keras_wrn.insight.out_sets import load_out_sets
    from keras_wrn.release.temperature import card_for_temperature, store_temperature

    if arguments.store_in:
        changed = arguments.calibrated or arguments.flip or arguments.dropout_passes
        if arguments.held_out is None or others or changed:
            raise InputError(
                "--store_in takes the temperature of one run on --held_out images, as the run is: "
                "without --calibrated, --flip and --dropout_passes."
            )
        # Before minutes of measuring.
        card_for_temperature(trained, arguments.store_in)
        if arguments.dataset:
            raise InputError("--store_in reports on the run's own test set. Leave --dataset out.")
    prints, table = arguments.json == PRINT, arguments.json
    if table and Path(table).is_dir():
        raise InputError(
            f"--json takes a file, or nothing at the end of the line. Received: {table}."
        )
    if arguments.train_images and not arguments.out:
        raise InputError("--train_images is for the scores of --out. Add --out, or leave it out.")
    members = _members(trained, others, arguments.calibrated)
    model = trained.model if not others else ensemble([member.model for member in members])
    name = " + ".join(member.card["name"] for member in members)
    where = arguments.data_dir
    data = images_of(trained, "test", dataset=arguments.dataset, data_dir=where)
    check_classes(data, trained)
    sources = [source for source in arguments.out.split(",") if source]
    shape = shape_of(model, trained.preprocessing)
    out = load_out_sets(sources, trained.preprocessing, len(data.test.labels), where, shape=shape)
    train = None
    if arguments.train_images:
        train = images_of(trained, "train", data_dir=where, most=arguments.train_images).train
    assessment = assess(
        model,
        data.test,
        trained.preprocessing,
        out=out,
        held_out=_held_out(arguments, members),
        train=train,
        corruptions=CORRUPTIONS if arguments.corruptions else (),
        attacks=("fgsm", "pgd-20") if arguments.attacks else (),
        robustness_images=arguments.robustness_images,
        label_errors=arguments.label_errors,
        flip=arguments.flip,
        dropout_passes=arguments.dropout_passes,
        odin_epsilon=arguments.odin_epsilon,
        batch_size=arguments.batch_size,
        name=f"{name} on {data.name}",
        json=None if prints else table,
        html=arguments.html,
    )
    written = [file for file in (None if prints else table, arguments.html) if file]
    if arguments.store_in:
        fitted_to = None if arguments.held_out == OWN else arguments.held_out
        written.append(
            str(
                store_temperature(
                    assessment.figures, trained, arguments.store_in, fitted_to=fitted_to
                )
            )
        )
    if prints:
        return json.dumps(assessment.figures, indent=2)
    return "\n".join([_summary(assessment), *(f"Written: {file}" for file in written)])


def _members(trained: Trained, others: list[str], calibrated: bool) -> list[Trained]:
    """The run, and the others of its ensemble."""
    from keras_wrn.inference.trained import load_trained

    members = [trained, *(load_trained(path, calibrated=calibrated) for path in others)]
    for member in members:
        if member.preprocessing != trained.preprocessing:
            raise InputError(
                "The networks of an ensemble must be trained with the same statistics and "
                f"classes. Received: {member.path}, which differs from {trained.path}."
            )
    return members


def _held_out(arguments: argparse.Namespace, members: list[Trained]) -> Any:
    """Images and labels that no member was trained on, or None."""
    trained = members[0]
    if arguments.held_out is None:
        return None
    from keras_wrn.inference.own_images import check_classes, images_of

    if arguments.held_out != OWN:
        data = images_of(trained, "test", dataset=arguments.held_out, data_dir=arguments.data_dir)
        check_classes(data, trained)
        return data.test
    counts, sources = [], set()
    for member in members:
        recipe = member.card.get("recipe")
        recipe = recipe if isinstance(recipe, dict) else {}
        if not recipe.get("held_out", 0):
            raise InputError(
                f"--held_out own is for runs whose recipes held images out. {member.path} learnt "
                "from all of its training images."
            )
        counts.append(recipe["held_out"])
        sources.add((member.card["dataset"], bool(recipe.get("extra"))))
    if len(sources) > 1:
        raise InputError(
            "--held_out own is for runs on the same images. Received: "
            f"{', '.join(sorted({name for name, _ in sources}))}, with and without extra images."
        )
    from keras_wrn.training.feeds import hold_out

    extra = sources.pop()[1]  # the images are drawn from these too
    count = min(counts)  # the larger of two sets of held-out images has all of the smaller
    data = images_of(trained, "train", data_dir=arguments.data_dir, extra=extra)
    return hold_out(data.train, count)[1]


def _summary(assessment: Assessment) -> str:
    """The main figures, in lines of text."""
    figures = assessment.figures
    classified, before = figures["classification"], figures["calibration"]
    after = figures["temperature"].get("after")
    sets = figures["conformal"]["0.95"]
    lines = [
        f"{figures['model']}, {classified['n']:,} images",
        f"  top-1 error                {classified['error']:8.2%}",
        f"  top-5 error                {classified['top5_error']:8.2%}",
        f"  area under risk-coverage   {figures['selective']['aurc']:8.2%}",
        f"  conformal sets at 95 %     {sets['size']:8.3f} classes, {sets['coverage']:.2%} right",
        "                              as it is  with temperature",
    ]
    rows = (("negative log-likelihood", "nll", "8.4f"), ("calibration error (ECE)", "ece", "8.2%"))
    for label, key, form in rows:
        then = f"{after[key]:{form}}" if after else "     -"
        lines.append(f"  {label:<27}{before[key]:{form}}  {then:>16}")
    if section := figures.get("out_of_distribution"):
        names = list(section["sets"])
        lines.append(f"{'AUROC, %':<15}" + "".join(f"{name:>15}" for name in names))
        scores = section["sets"][names[0]]["scores"]
        lines += [
            f"  {score:<13}"
            + "".join(f"{100 * section['sets'][n]['scores'][score]['auroc']:15.1f}" for n in names)
            for score in scores
        ]
    if section := figures.get("corruptions"):
        lines.append(f"  error under corruptions    {section['error']:8.2%}")
    for name, found in figures.get("attacks", {}).items():
        if isinstance(found, dict):
            lines.append(f"  error under {name:<15}{found['error']:8.2%}")
    if section := figures.get("label_errors"):
        lines.append(f"  suspect labels             {section['n']:8,}")
    return "\n".join(lines)
