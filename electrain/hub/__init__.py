"""To and from transformers: what other programs load, and what a run can start from."""

from electrain.hub.export import export, push, to_transformers
from electrain.hub.load import encoder_config_of, from_transformers, generator_scale_of, load_into
from electrain.hub.weights import as_transformers, part_of, parts
from electrain.systems.networks import Part

__all__ = [
    "Part",
    "as_transformers",
    "encoder_config_of",
    "export",
    "from_transformers",
    "generator_scale_of",
    "load_into",
    "part_of",
    "parts",
    "push",
    "to_transformers",
]
