"""The model card: what was trained, on what, how far, how well, and how to do it again."""

import json
from dataclasses import dataclass
from pathlib import Path

from electrain import redaction
from electrain.data.manifest import NAME, Manifest, Source
from electrain.errors import UserError
from electrain.escaping import fenced, markdown
from electrain.files import sha256
from electrain.hub.weights import Model
from electrain.run import Record
from electrain.systems.networks import Part

_WHAT: dict[Part, str] = {
    "discriminator": "an ELECTRA discriminator: it reads a text and says of every token whether it was replaced",
    "generator": "an ELECTRA generator: a small masked language model that proposes what stands at [MASK]",
    "bert": "a masked language model: it says what stands at [MASK]",
}
_LOAD: dict[Part, str] = {
    "discriminator": """from transformers import AutoModelForPreTraining, AutoTokenizer
model, tokenizer = AutoModelForPreTraining.from_pretrained({name}), AutoTokenizer.from_pretrained({name})
print(model(**tokenizer("The cat sat on the moon.", return_tensors="pt")).logits.sigmoid())  # 1: replaced""",
    "generator": """from transformers import pipeline
fill = pipeline("fill-mask", {name})
print(fill(f"The cat sat on the {{fill.tokenizer.mask_token}}."))""",
}
_LOAD["bert"] = _LOAD["generator"]
_MODERN = """from transformers import AutoModelForTokenClassification, AutoTokenizer
model, tokenizer = AutoModelForTokenClassification.from_pretrained({name}), AutoTokenizer.from_pretrained({name})
print(model(**tokenizer("The cat sat on the moon.", return_tensors="pt")).logits.softmax(-1)[..., 1])  # 1: replaced"""
_NAMES = {
    "loss": "loss",
    "mlm_loss": "masked LM loss, nats a token",
    "mlm_accuracy": "masked LM accuracy",
    "generator_entropy": "entropy of the generator's proposals, nats",
    "replaced": "share of tokens replaced",
    "rtd_loss": "replaced-token loss, nats a token",
    "rtd_accuracy": "replaced-token accuracy, all tokens",
    "rtd_majority": "the same, always saying original",
    "rtd_recall": "replaced tokens found",
    "rtd_auc": "area under the ROC curve, replaced tokens",
}


@dataclass(frozen=True)
class Facts:
    """What a card says.

    name:     what the examples load: the Hub name, or a word in its place
    steps:    those whose weights this is the mean of; mostly one
    metrics:  the last held-out figures at or before the last of them, and that step; None where there were none
    sources:  None where the data folder could not be read any more
    """

    part: Part
    family: str
    name: str
    parameters: int
    sizes: str
    recipe: str
    steps: tuple[int, ...]
    of_steps: int
    batch: int
    length: int
    seed: int
    command: str
    metrics: tuple[int, dict[str, float]] | None
    sources: tuple[Source, ...] | None
    documents: int
    tokens: int
    data_sha256: str
    machine: str
    versions: dict[str, str]

    @staticmethod
    def of(run_dir: Path, record: Record, model: Model, part: Part, steps: tuple[int, ...], name: str) -> "Facts":
        """Gathered from a run's folder and, where it is still there, from its data's manifest."""
        manifest = _manifest(record)
        run, config = record.run, model.encoder.config
        shards = (*manifest.train, *manifest.validation) if manifest else ()
        return Facts(
            part=part,
            family=model.family,
            name=name,
            parameters=sum(p.numel() for p in {*model.encoder.parameters(), *model.head.parameters()}),
            sizes=f"{config.layers} layers, hidden {config.hidden}, feed-forward {config.ffn}, {config.heads} heads, "
            f"embeddings {config.embedding}, {config.positions} positions",
            recipe=run.recipe,
            steps=steps,
            of_steps=run.steps,
            batch=run.batch,
            length=run.length,
            seed=run.seed,
            command=record.command,
            metrics=_metrics(run_dir / "metrics.jsonl", steps[-1]),
            sources=manifest.sources if manifest else None,
            documents=sum(shard.documents for shard in shards),
            tokens=sum(shard.tokens for shard in shards),
            data_sha256=record.data_sha256,
            machine=record.machine,
            versions=record.versions,
        )


def card(facts: Facts) -> str:
    """The text of README.md, front matter first. The licence is the user's to choose, and left out."""
    tags = [facts.family, *(["electra"] if facts.family == "bert" and facts.part == "generator" else [])]
    tags += ["electrain", "pretraining", {"discriminator": "replaced-token-detection"}.get(facts.part, "masked-lm")]
    front = ["library_name: transformers"]
    front += ["pipeline_tag: fill-mask"] if facts.part != "discriminator" else []
    classifier = facts.part == "discriminator" and facts.family == "modernbert"
    front += ["tags:", *(f"- {tag}" for tag in tags), "# license: yours to choose, before you publish"]
    recipe = f", recipe {markdown(facts.recipe)}" if facts.recipe else ""
    name = json.dumps(facts.name)
    return "\n".join(
        [
            "---",
            *front,
            "---",
            "",
            f"# {markdown(facts.recipe or facts.family)}: {facts.part}",
            "",
            f"This is {_WHAT[facts.part]}. Pre-trained with electrain{recipe}.",
            f"{facts.parameters:,} parameters: {facts.sizes}.",
            "",
            fenced((_MODERN if classifier else _LOAD[facts.part]).format(name=name), "python"),
            "",
            "As sentence vectors, the mean of the token vectors: "
            f"`SentenceTransformer({name.replace('`', '')})`. They were not",
            "trained for similarity; fine-tune first.",
            "",
            "## Training",
            "",
            f"{_steps(facts)} of {facts.of_steps:,}; {facts.batch} rows of {facts.length} tokens a step; "
            f"seed {facts.seed}.",
            *_repeat(facts.command),
            "",
            "## Data",
            "",
            *_data(facts),
            "",
            "## Held-out figures",
            "",
            *_figures(facts),
            "",
            "## Made with",
            "",
            markdown(f"{facts.machine}; " + ", ".join(f"{name} {number}" for name, number in facts.versions.items())),
            "",
        ]
    )


def _steps(facts: Facts) -> str:
    if len(facts.steps) == 1:
        return f"Step {facts.steps[0]:,}"
    before = ", ".join(f"{step:,}" for step in facts.steps[:-1])
    return f"The mean of the weights of {len(facts.steps)} checkpoints, steps {before} and {facts.steps[-1]:,}"


def _manifest(record: Record) -> Manifest | None:
    """Of the data that the run read; None where it was moved or made again since: then only its checksum is told."""
    try:
        manifest = Manifest.load(record.data)
        digest = sha256(Path(record.data) / NAME)
    except (UserError, OSError, ValueError):  # ValueError: no path at all
        return None
    return manifest if digest == record.data_sha256 else None


def _repeat(command: str) -> list[str]:
    return ["", "The same again:", "", fenced(redaction.text(command))] if command else []


def _data(facts: Facts) -> list[str]:
    digest = f"Checksum of the data's manifest (SHA-256): {markdown(facts.data_sha256)}."
    if facts.sources is None:
        return ["The data folder was not at hand when this was written. " + digest]
    rows = [f"| {_cell(s.name)} | {s.documents:,} | {s.bytes:,} | {s.repeat:g} |" for s in facts.sources]
    return [
        f"{facts.documents:,} documents, {facts.tokens:,} tokens, the held-out ones among them.",
        "",
        "| source | documents | bytes | repeated |",
        "|---|---:|---:|---:|",
        *rows,
        "",
        digest,
    ]


def _figures(facts: Facts) -> list[str]:
    if facts.metrics is None:
        return ["None were measured up to this step."]
    step, values = facts.metrics
    rows = [f"| {_NAMES.get(name) or markdown(name)} | {value:.4f} |" for name, value in values.items()]
    alone = "" if len(facts.steps) == 1 else " (of that step's weights, not of the mean)"
    return [
        f"At step {step:,}{alone}, on documents kept out of training:",
        "",
        "| figure | value |",
        "|---|---:|",
        *rows,
    ]


def _cell(text: str) -> str:
    """A name that cannot leave its cell; of a path on a machine only the last part."""
    name = text.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] if Path(text).is_absolute() else text
    return markdown(redaction.text(name))


def _metrics(path: Path, step: int) -> tuple[int, dict[str, float]] | None:
    """The last held-out line at or before a step."""
    found = None
    try:
        lines = path.read_bytes().splitlines()
    except OSError:  # a run that was moved without its metrics: the card says that there are none
        return None
    for text in lines:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):  # the last line of a process that was killed while it wrote
            break
        if isinstance(line, dict) and line.get("kind") == "eval":
            at = line.get("step")
            found = (at, line) if isinstance(at, int) and at <= step else found
    if found is None:
        return None
    pairs = [(k, v) for k, v in found[1].items() if k not in ("step", "kind") and isinstance(v, int | float)]
    return found[0], {name: float(value) for name, value in pairs if abs(value) < 2**500}
