"""What a system trains, network by network, whether or not anything but electrain can hold it."""

from typing import Literal, NamedTuple

from electrain.corruptors.generator import Generator
from electrain.encoders.base import Encoder
from electrain.encoders.head import MlmHead, RtdHead
from electrain.systems.base import Pretraining

Part = Literal["discriminator", "generator", "bert"]


class Network(NamedTuple):
    """An encoder and the head that reads it."""

    encoder: Encoder
    head: MlmHead | RtdHead


def networks(system: Pretraining) -> dict[Part, Network]:
    """The trained networks: what is pre-trained, by its head, and a joint generator."""
    found: dict[Part, Network] = {}
    head = getattr(getattr(system, "objective", None), "head", None)
    if isinstance(head, RtdHead):
        found["discriminator"] = Network(system.encoder, head)
    if isinstance(head, MlmHead):
        found["bert"] = Network(system.encoder, head)
    generator = getattr(getattr(system, "corruptor", None), "generator", None)
    if isinstance(generator, Generator):
        encoder = generator.encoder if generator.encoder is not None else system.encoder
        found["generator"] = Network(encoder, generator.head)
    return found


def masked_lm_of(system: Pretraining, *order: Part) -> tuple[Encoder, MlmHead] | None:
    """The first masked language model in `order` that a system trains: some have a generator and are one themselves."""
    found = networks(system)
    for part in order:
        if part in found and isinstance(head := found[part].head, MlmHead):
            return found[part].encoder, head
    return None
