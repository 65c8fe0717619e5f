"""What a masked-LM head says at every place, without ever holding the vocabulary's logits for all of them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from electrain.encoders.head import MlmHead

PLACES = 2048
"""Places whose logits are held at once. A chunk of them over 30,522 tokens takes about 1.2 GiB at the peak of the
backward pass in bf16 and not compiled, however many places a batch has."""


def log_probabilities(
    head: MlmHead, hidden: Float[Tensor, "n d"], table: Float[Tensor, "v e"], ids: Int[Tensor, "n m"]
) -> tuple[Float[Tensor, "n m"], Float[Tensor, " n"]]:
    """Log-probability of m tokens at each of n places, and that of the likeliest token, without gradient.

    Chunk by chunk; the backward pass computes each chunk's logits again, a third more work in the head.
    """
    # Handed on as they are now: the backward pass may run when other tensors stand in the head's place again.
    weights = dict(head.named_parameters())
    parts = [
        checkpoint(_chunk, head, weights, some, table, tokens, use_reentrant=False, preserve_rng_state=False)
        for some, tokens in zip(hidden.split(PLACES), ids.split(PLACES), strict=True)
    ]
    return torch.cat([asked for asked, _ in parts]), torch.cat([best for _, best in parts])


def _chunk(
    head: MlmHead,
    weights: dict[str, Tensor],
    hidden: Float[Tensor, "n d"],
    table: Float[Tensor, "v e"],
    ids: Int[Tensor, "n m"],
) -> tuple[Float[Tensor, "n m"], Float[Tensor, " n"]]:
    logits = functional_call(head, weights, (hidden, table)).float()
    mass = logits.logsumexp(-1)
    return logits.gather(-1, ids) - mass[:, None], (logits.detach().amax(-1) - mass.detach())
