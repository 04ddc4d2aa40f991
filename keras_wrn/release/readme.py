"""Generate the README.md of published weights from their card."""

from typing import Any

from keras_wrn.images.preprocessing import PREPROCESSING, from_card
from keras_wrn.system import markdown
from keras_wrn.weights.card import HISTORY_FILE, WEIGHTS_FILE, Card, call
from keras_wrn.weights.published import folder_name

README_FILE = "README.md"


def readme(card: Card, *, has_curves: bool = True) -> str:
    """Write a card as Markdown.

    Args:
        card: the card of published weights.
        has_curves: whether curves.png lies beside it.

    Returns:
        The text of README.md.
    """
    metrics = card.metrics or {}
    parts = [
        f"# {card.architecture} on {card.keyword}",
        "<!-- Generated from card.json by keras_wrn. -->",
        markdown.table(
            (f"{metrics['n']:,} test images", ""),
            {
                "top-1 error": _percent(metrics["error"]),
                "top-5 error": _percent(metrics["top5_error"]),
                "negative log-likelihood": f"{metrics['nll']:.4f}",
                "expected calibration error, 15 bins": _percent(metrics["ece"]),
                "trainable parameters": f"{card.parameters:,}",
                "multiply-adds for one image": f"{card.multiply_adds:,}",
            }.items(),
        ),
        f"Measured by {card.measured_by}; {card.measured_on}. "
        f"Runs: {card.runs}, seed {'not said' if card.seed is None else card.seed}. "
        f"Kept: {card.kept or 'the last epoch'}. "
        f"Chosen by: {card.chosen_by or 'not said'}.",
        f"```python\n{_use(card)}  # before: 0 to 255\n```",
        f"## Intended use\n\n{card.intended_use}",
        "## Known failures\n\n" + "\n".join(f"- {line}" for line in card.known_failures or ()),
        "## Preprocessing\n\n" + _preprocessing(card.preprocessing),
        "## Training\n\n" + _training(card),
    ]
    if has_curves:
        parts.append(f"![training curves](curves.png)\n\nThe figures are in {HISTORY_FILE}.")
    parts.append(
        "## File\n\n"
        + markdown.table(
            (WEIGHTS_FILE, ""),
            {
                "numbers": card.weights_dtype,
                "bytes": f"{card.weights_bytes:,}",
                "sha256": f"`{card.weights_sha256}`",
                "licence": card.licence,
            }.items(),
        )
    )
    return "\n\n".join(parts) + "\n"


def _use(card: Card) -> str:
    """Write the Python that loads the network and normalises images for it."""
    if PREPROCESSING.get(card.dataset) == from_card(card.to_dict()):
        lines = (
            f"model = keras_wrn.{call(card.network, card.keyword)}",
            f'images = keras_wrn.preprocess_input(images, "{card.dataset}")',
        )
    else:
        lines = (
            f'trained = keras_wrn.load_trained("{folder_name(card.title, card.keyword)}")',
            "images = keras_wrn.preprocess_input(images, trained.preprocessing)",
        )
    return "\n".join(("import keras_wrn\n", *lines))


def _preprocessing(values: dict[str, Any]) -> str:
    mean, std = (", ".join(f"{number:g}" for number in values[key]) for key in ("mean", "std"))
    return (
        f"{values['size']}x{values['size']} pixels on 0 to 255; mean {mean} and standard deviation "
        f"{std} per channel (red, green, blue)."
    )


def _training(card: Card) -> str:
    facts = {
        "epochs": card.epochs,
        "steps": card.steps,
        "hours": card.hours,
        "CPU hours": card.cpu_hours,
        "operations": _operations(card.training_flop),
        "hardware": card.hardware,
        "versions": ", ".join(f"{k} {v}" for k, v in (card.versions or {}).items()),
    }
    facts |= card.recipe if isinstance(card.recipe, dict) else {"recipe": card.recipe}
    shown = {k.replace("_", " "): v for k, v in facts.items() if v not in (None, "", [], {})}
    return markdown.table(("", ""), shown.items())


def _operations(flop: float | None) -> str | None:
    return None if flop is None else f"{flop / 1e15:.3g} PFLOP, convolutions and dense layers"


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{share:.2%}"
