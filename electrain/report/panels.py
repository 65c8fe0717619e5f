"""Which metrics are drawn together, under which name, and what they mean."""

import re
from dataclasses import dataclass
from typing import Literal

Group = Literal["learning", "damage", "updates", "machine", "others"]
GROUPS: dict[Group, str] = {
    "learning": "What it learns",
    "damage": "How the text is damaged",
    "updates": "The updates",
    "machine": "The machine",
    "others": "Other metrics",
}


@dataclass(frozen=True)
class Panel:
    """One plot. `beside` are metrics drawn thin and dotted, as a yardstick.

    form: of numbers: "share" in per cent, "count", or "number"
    """

    metric: str
    title: str
    about: str
    group: Group
    form: Literal["number", "share", "count"] = "number"
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """Metrics that differ by a number in their name, in one plot a run: `name` + number."""

    prefix: str
    title: str
    about: str
    group: Group
    label: str
    form: Literal["number", "share", "count"] = "share"


PANELS = (
    Panel("loss", "Loss", "What is minimised: the sum of all parts, each with its weight. It compares runs of one "
          "system only.", "learning"),
    Panel("mlm_loss", "Masked-LM loss", "Cross-entropy in nats of the true tokens at the selected places: the "
          "generator's, or the model's own where it is a masked language model.", "learning"),
    Panel("mlm_accuracy", "Masked-LM accuracy", "Share of the selected places at which the likeliest token is the "
          "true one: the generator's, or the model's own.", "learning", "share"),
    Panel("rtd_auc", "Discriminator AUC", "Chance that a replaced token looks more suspicious than an original one: "
          "0.5 is guessing. A generator that gets better makes it harder.", "learning"),
    Panel("rtd_loss", "Discriminator loss", "Cross-entropy of \"replaced or original\" a token.", "learning"),
    Panel("rtd_accuracy", "Discriminator accuracy", "Over all tokens. Dotted: what calling every token original "
          "would get.", "learning", "share", ("rtd_majority",)),
    Panel("rtd_recall", "Replaced tokens found", "Share of the replaced tokens that get a probability above one "
          "half.", "learning", "share"),
    Panel("copy_loss", "Copy loss", "Of the gate that copies a token or not.", "learning"),
    Panel("gate_untouched", "Copy gate", "How far it is open where the token is the text's own. Dotted: where it was "
          "replaced, and should be closed.", "learning", "share", ("gate_replaced",)),
    Panel("clm_loss", "Corrective-LM loss", "Cross-entropy of the text's own tokens at the selected places.",
          "learning"),
    Panel("clm_accuracy", "Corrective-LM accuracy", "Share of the selected places that come out right.", "learning",
          "share"),
    Panel("corrected", "Replaced tokens corrected", "Share of the replaced tokens for which the text's own is the "
          "likeliest.", "learning", "share"),
    Panel("contrast_loss", "Contrastive loss", "Finding the other view of the same text among others.", "learning"),
    Panel("contrast_accuracy", "Contrastive accuracy", "Share of the texts whose other view is the nearest.",
          "learning", "share"),
    Panel("nce_loss", "Noise-contrastive loss", "Cross-entropy of \"noise or text\" a place.", "learning"),
    Panel("nce_auc", "Noise-contrastive AUC", "Chance that noise scores above text.", "learning"),
    Panel("nce_accuracy", "Noise-contrastive accuracy", "Over all places. Dotted: calling every place text.",
          "learning", "share", ("nce_majority",)),
    Panel("replaced", "Replaced tokens", "Share of all tokens that are not the text's own after the damage; a sample "
          "that happens to be right is none.", "damage", "share"),
    Panel("sampled_right", "Samples that are right", "Share of the generator's samples that are the text's own "
          "tokens.", "damage", "share"),
    Panel("temperature", "Temperature", "Of the generator's distribution: high is near uniform, easy to tell.",
          "damage"),
    Panel("generator_entropy", "Generator's entropy", "In nats, of its distribution at the selected places.", "damage"),
    Panel("generator_layers", "Generator's layers", "Mean number of layers after which it left.", "damage"),
    Panel("encoder_layers", "Encoder's layers", "Mean number of layers that were run.", "damage"),
    Panel("encoder_saved", "Encoder's operations saved", "Share of its layers that were not run.", "damage", "share"),
    Panel("lr", "Learning rate", "At the last step of each window.", "updates"),
    Panel("grad_norm", "Gradient norm", "Before clipping, at the last step of each window.", "updates"),
    Panel("tokens_per_second", "Throughput", "Tokens a second; evaluations and checkpoints are not counted.",
          "machine", "count"),
    Panel("data_wait", "Waiting for data", "Share of the time in which training waited for the loader.", "machine",
          "share"),
    Panel("memory", "Memory", "MiB at most so far: of the GPU, or of the process on a CPU; of the first process "
          "where there are several.", "machine", "count"),
)  # fmt: skip
FAMILIES = (
    Family("exit_", "Exit probabilities", "How often the generator is left at each of its exits.", "damage", "exit"),
    Family("section_accuracy_", "Accuracy by section", "Of the replaced-token head after each section.", "learning",
           "layer"),
)  # fmt: skip


def panels(names: set[str]) -> list[Panel | Family]:
    """The plots for these metrics, in a fixed order; a metric that nobody described gets one of its own at the end."""
    found: list[Panel | Family] = [panel for panel in PANELS if panel.metric in names]
    drawn = {name for panel in found if isinstance(panel, Panel) for name in (panel.metric, *panel.beside)}
    families = [family for family in FAMILIES if members(family, names)]
    drawn |= {name for family in families for name in members(family, names)}
    rest = [Panel(name, name, "", "others") for name in sorted(names - drawn)]
    return sorted([*found, *families, *rest], key=lambda one: list(GROUPS).index(one.group))


def members(family: Family, names: set[str]) -> list[str]:
    """The metrics of a family, by their number."""
    form = re.compile(re.escape(family.prefix) + r"(\d{1,9})")
    numbers = sorted(int(match[1]) for name in names if (match := form.fullmatch(name)))
    return [f"{family.prefix}{number}" for number in numbers if f"{family.prefix}{number}" in names]
