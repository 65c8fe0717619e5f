"""Targets: folders of transformers: configuration, weights, tokenizer."""

from pathlib import Path

from electrain.hub.load import encoder_config_of, from_transformers
from electrain.hub.masked_lm import load
from electrain.hub.opened import opened
from fuzz.target import Target, tree_of


def targets(world: Path) -> list[Target]:
    model = tree_of(world / "model")
    kinds = {
        "config.json": "json",
        "model.safetensors": "bytes",
        "tokenizer.json": "json",
        "tokenizer_config.json": "json",
    }
    both = {f"model/{name}": content for name, content in tree_of(world / "generator").items()}
    both |= {f"tokenizer/{name}": content for name, content in tree_of(world / "data/tokenizer").items()}
    return [
        Target("config.json", "configuration of a transformers folder", 4_000, model, {"config.json": "json"}, sizes),
        Target("model", "transformers folder: weights, tokenizer", 400, model, kinds, whole),
        Target(
            "generator", "transformers folder of a frozen generator", 250, both,
            {"model/config.json": "json", "model/model.safetensors": "bytes", "model/tokenizer.json": "json"}, frozen,
        ),
    ]  # fmt: skip


def sizes(folder: Path, name: str) -> None:
    encoder_config_of(folder)


def whole(folder: Path, name: str) -> None:
    opened(folder)
    from_transformers(folder)


def frozen(folder: Path, name: str) -> None:
    load(str(folder / "model"), folder / "tokenizer")
