"""The commands on weights: `publish`, `convert` and `list`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_wrn.cli.program import start_keras
from keras_wrn.errors import InputError
from keras_wrn.system import markdown
from keras_wrn.system.files import read_json
from keras_wrn.weights.card import call

if TYPE_CHECKING:
    import argparse


def add_publish(commands: Any) -> None:
    """Add `publish` to the command line."""
    parser = commands.add_parser("publish", help="make published weights out of a finished run")
    parser.description = (
        "Round a run's weights to float16, measure them again on the full test set, and write "
        "folder/name/ with the weights, the test set's logits, a card and a README, as the Hugging "
        "Face Hub takes it. Of weights that are published already, the folder is completed."
    )
    parser.add_argument("run", help="the run folder, or a folder of published weights")
    parser.add_argument(
        "folder",
        nargs="?",
        help="where to write name/, such as saved_models (may be left out with --to-hub)",
    )
    parser.add_argument("--data_dir", help="folder of the data set's files")
    parser.add_argument("--intended_use", help="a sentence for the card")
    parser.add_argument(
        "--known_failure", action="append", default=[], help="a sentence for the card; repeatable"
    )
    parser.add_argument("--licence", help="of the weights (Apache-2.0)")
    parser.add_argument(
        "--to-hub",
        "--to_hub",
        metavar="OWNER/NAME",
        help="upload the folder to this Hugging Face repository",
    )
    parser.add_argument("--private", action="store_true", help="of --to-hub: not public")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(answer=_publish)


def _publish(arguments: argparse.Namespace) -> str:
    from keras_wrn.weights.card import read_card

    repository = arguments.to_hub
    if repository == "":
        raise InputError("--to-hub needs owner/name. Received: an empty name.")
    if not arguments.folder and not repository:
        raise InputError("publish needs a folder to write to, or --to-hub owner/name.")
    if arguments.private and not repository:
        raise InputError("--private is for --to-hub; a folder is as private as its disk.")
    read_card(Path(arguments.run))
    start_keras()
    from keras_wrn.release import hub
    from keras_wrn.release.publishing import publish

    api = hub.open_hub(repository, private=arguments.private) if repository else None
    with tempfile.TemporaryDirectory(prefix="keras_wrn-") as temporary:
        folder = publish(
            arguments.run,
            arguments.folder or temporary,
            data_dir=arguments.data_dir,
            intended_use=arguments.intended_use,
            known_failures=arguments.known_failure,
            licence=arguments.licence,
            repository=repository,
        )
        metrics = read_card(folder).metrics or {}
        places = {"folder": str(folder)} if arguments.folder else {}
        if repository:
            try:
                places["url"] = hub.upload(api, folder, repository, private=arguments.private)
            except InputError as error:
                if not arguments.folder:
                    raise
                raise InputError(
                    f"{error} {folder} is complete. To upload it later: keras-wrn publish "
                    f"{folder} --to-hub {repository}"
                ) from error
    if arguments.json:
        return json.dumps(places | {"metrics": metrics})
    figures = f"test error {metrics['error']:.2%} on {metrics['n']:,} images"
    return f"{', '.join(places.values())}: {figures}"


def add_convert(commands: Any) -> None:
    """Add `convert` to the command line."""
    parser = commands.add_parser("convert", help="make a Keras model of another's checkpoint")
    parser.add_argument("checkpoint", help=".pt, .safetensors, .npz or .h5; hf://owner/repo/file")
    parser.add_argument("target", help="the .keras file to write, or .weights.h5")
    parser.add_argument("--dialect", help="whose layer names it has (default: recognised)")
    parser.add_argument("--key_map", help="a JSON file: layer in the checkpoint -> layer here")
    parser.add_argument("--which", help="the key of one network of several, such as ema")
    parser.add_argument("--conventions", help="a JSON file: keys of keras_wrn.Conventions")
    parser.add_argument(
        "--preprocessing", help="a JSON file: mean, std, size, class_names; kept in the target"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(answer=_convert)


def _convert(arguments: argparse.Namespace) -> str:
    start_keras()
    from keras_wrn.applications.conversion import convert_checkpoint
    from keras_wrn.applications.converted import check_target
    from keras_wrn.weights.description import read_preprocessing, to_conventions

    target = check_target(arguments.target)
    preprocessing = arguments.preprocessing and read_preprocessing(Path(arguments.preprocessing))
    options = {}
    if arguments.conventions is not None:
        if not Path(arguments.conventions).is_file():
            raise InputError(
                f"--conventions must be a JSON file that exists. Received: {arguments.conventions}."
            )
        options["conventions"] = to_conventions(read_json(Path(arguments.conventions)))
    found = convert_checkpoint(
        arguments.checkpoint,
        arguments.dialect,
        key_map=arguments.key_map,
        which=arguments.which,
        **options,
    )
    text = found.save(target, preprocessing)
    return json.dumps({"path": str(target), **found.to_json()}) if arguments.json else text


def add_list(commands: Any) -> None:
    """Add `list` to the command line."""
    parser = commands.add_parser("list", help="name the networks and the published weights")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="the published weights in Markdown")
    parser.set_defaults(answer=_list)


def _list(arguments: argparse.Namespace) -> str:
    from keras_wrn.networks.names import NETWORKS
    from keras_wrn.weights.finding import list_weights

    weights = list_weights()
    if arguments.json:
        networks = {
            key: {"parameters": network.parameters, "classes": network.classes}
            | {"block": network.block, "function": network.builder}
            | {"arguments": dict(network.arguments)}
            for key, network in NETWORKS.items()
        }
        return json.dumps({"networks": networks, "published": weights})
    if arguments.markdown:
        return as_markdown(weights)
    lines = [
        f"{'--model':<17}{'function':<25}{'residual blocks':<30}{'classes':>7}{'parameters':>13}"
    ]
    for key, network in NETWORKS.items():
        function = network.builder + "".join(f"({k}={v})" for k, v in network.arguments)
        lines.append(
            f"{key:<17}{function:<25}{network.block:<30}{network.classes:>7}"
            f"{network.parameters:>13,}"
        )
    lines += [
        "\nParameters are the trainable ones, with that many classes. --model also takes any other",
        "depth of 6N + 4 and any other width of the B(3,3) networks, such as 10-1.",
        f"\nPublished weights, for --model with --weights:\n{table(weights)}",
        "\n* measured by the owner on ImageNet's validation images, not here; the others are",
        "measured on the full test set. imagenet stands for a network's best. --json shows all.",
    ]
    return "\n".join(lines)


def table(rows: list[dict[str, Any]]) -> str:
    """`list_weights()` in columns; "-": not measured."""
    heads = ("name", "data", "error", "NLL", "ECE", "parameters", "size", "sha256", "recipe")
    lines = [heads, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    right = {2, 3, 4, 5, 6}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """`list_weights()` in Markdown: the call that loads each, its errors, and its training."""
    lines = []
    for row in rows:
        error, nll, ece, parameters = (cell.strip() for cell in _cells(row)[2:6])
        card = row["card"]
        took = (
            f"{card['hours']:.2g} hours, {card.get('hardware', 'hardware not said')}"
            if "hours" in card
            else "by its owner"
        )
        loads = f"`{call(card['network'], row['weights'])}`"
        lines.append((loads, error, nll, ece, parameters, took))
    header = ("", "test error", "NLL", "ECE", "parameters", "trained")
    return markdown.table(header, lines)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    def shown(value: Any, form: str) -> str:
        return "-" if value is None else format(value, form)

    size = None if row["size"] is None else row["size"] / 1e6
    mark = "*" if row["card"].get("owner") else " "
    return (
        row["name"],
        row["weights"],
        shown(row["error"], ".2%") + mark,
        shown(row["nll"], ".4f"),
        shown(row["ece"], ".2%"),
        shown(row["parameters"], ","),
        shown(size, ".1f") + " MB",
        (row["sha256"] or "-")[:16],
        row["recipe"],
    )
