"""README.md of published weights, generated from their card."""

from typing import Any

from keras_wrn.images.preprocessing import PREPROCESSING, preprocessing_of
from keras_wrn.system import markdown
from keras_wrn.weights.card import HISTORY_FILE, WEIGHTS_FILE, call
from keras_wrn.weights.published import folder_name

README_FILE = "README.md"


def readme(card: dict[str, Any], *, has_curves: bool = True) -> str:
    """Say in Markdown what a card says.

    Args:
        card: of published weights.
        has_curves: whether curves.png lies beside it.

    Returns:
        The text of README.md.
    """
    keyword = card.get("weights", card["dataset"])
    metrics = card["metrics"]
    parts = [
        f"# {card['architecture']} on {keyword}",
        "<!-- Generated from card.json by keras_wrn. -->",
        markdown.table(
            (f"{metrics['n']:,} test images", ""),
            {
                "top-1 error": _percent(metrics["error"]),
                "top-5 error": _percent(metrics["top5_error"]),
                "negative log-likelihood": f"{metrics['nll']:.4f}",
                "expected calibration error, 15 bins": _percent(metrics["ece"]),
                "trainable parameters": f"{card['parameters']:,}",
                "multiply-adds for one image": f"{card['multiply_adds']:,}",
            }.items(),
        ),
        f"Measured by {card['measured_by']}; {card['measured_on']}. "
        f"Runs: {card['runs']}, seed {card.get('seed', 'not said')}. "
        f"Kept: {card.get('kept', 'the last epoch')}. "
        f"Chosen by: {card.get('chosen_by', 'not said')}.",
        f"```python\n{_use(card, keyword)}  # before: 0 to 255\n```",
        "## Intended use\n\n" + card["intended_use"],
        "## Known failures\n\n" + "\n".join(f"- {line}" for line in card["known_failures"]),
        "## Preprocessing\n\n" + _preprocessing(card["preprocessing"]),
        "## Training\n\n" + _training(card),
    ]
    if has_curves:
        parts.append(f"![training curves](curves.png)\n\nThe figures are in {HISTORY_FILE}.")
    parts.append(
        "## File\n\n"
        + markdown.table(
            (WEIGHTS_FILE, ""),
            {
                "numbers": card["weights_dtype"],
                "bytes": f"{card['weights_bytes']:,}",
                "sha256": f"`{card['weights_sha256']}`",
                "licence": card["licence"],
            }.items(),
        )
    )
    return "\n\n".join(parts) + "\n"


def _use(card: dict[str, Any], keyword: str) -> str:
    """The Python that loads the network, and normalises images as the card says."""
    dataset = card["dataset"]
    if PREPROCESSING.get(dataset) == preprocessing_of(card):
        lines = (
            f"model = keras_wrn.{call(card['network'], keyword)}",
            f'images = keras_wrn.preprocess_input(images, "{dataset}")',
        )
    else:
        lines = (
            f'trained = keras_wrn.load_trained("{folder_name(card["architecture"], keyword)}")',
            "images = keras_wrn.preprocess_input(images, trained.preprocessing)",
        )
    return "\n".join(("import keras_wrn\n", *lines))


def _preprocessing(values: dict[str, Any]) -> str:
    mean, std = (", ".join(f"{number:g}" for number in values[key]) for key in ("mean", "std"))
    return (
        f"{values['size']}x{values['size']} pixels on 0 to 255; mean {mean} and standard deviation "
        f"{std} per channel (red, green, blue)."
    )


def _training(card: dict[str, Any]) -> str:
    facts = {
        "epochs": card.get("epochs"),
        "steps": card.get("steps"),
        "hours": card.get("hours"),
        "CPU hours": card.get("cpu_hours"),
        "operations": _operations(card.get("training_flop")),
        "hardware": card.get("hardware"),
        "versions": ", ".join(f"{k} {v}" for k, v in card.get("versions", {}).items()),
    }
    recipe = card.get("recipe")
    if isinstance(recipe, dict):
        facts |= recipe
    elif recipe:
        facts["recipe"] = recipe
    shown = {k.replace("_", " "): v for k, v in facts.items() if v not in (None, "", [], {})}
    return markdown.table(("", ""), shown.items())


def _operations(flop: float | None) -> str | None:
    return None if flop is None else f"{flop / 1e15:.3g} PFLOP, convolutions and dense layers"


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{share:.2%}"
