"""What a part of a system costs: its matrix products, and its operations as the ELECTRA paper's script counts them.

Encoders, corruptors and objectives state their own `cost`, as a tuple of `Work`; `flops.py` adds it up. Both counts are
of one row's forward pass.

Plain: 2mnk a matrix product, nothing else; look-ups are free; logits only where they are computed. The paper's way: the
conventions of `flops_computation.py` in the official ELECTRA code, by which the published FLOPs were found. There, next
to matrix products, biases, residuals, dropout (4 operations an element), LayerNorm (5), GELU (8) and softmax (5) count.
Its quirks are kept, for the figures depend on them:

- embedding look-ups are dense, a product with a one-hot vector, for token, position and segment tables, and once more
  for the generator even where the tables are shared;
- the masked-LM softmax covers 15.625 % of the places (20 of 128), whatever share is selected (Large selects 25 %), and
  the vocabulary's bias is left out;
- the LayerNorm after attention counts 5 operations a token rather than 5 an element;
- dropout counts whatever its rate; the loss of the discriminator, sampling and the optimizer do not.
"""

from dataclasses import dataclass

from torch import nn

_PREDICTED = 0.15625
_DROPOUT, _NORM, _GELU, _SOFTMAX = 4, 5, 8, 5


@dataclass(frozen=True)
class Shape:
    """One row as the parts see it: `length` tokens, `selected` slots among them, `vocab` token ids."""

    length: int
    selected: int
    vocab: int


@dataclass(frozen=True)
class Work:
    """Operations of one part for the forward pass of one row.

    part:    its name, as the table shows it
    plain:   2mnk of its matrix products
    paper:   as the official script counts them
    trained: whether a backward pass follows: plainly twice the forward pass, in the paper's way as much as it
    """

    part: str
    plain: int | float
    paper: int | float
    trained: bool = True


def layers(
    shape: Shape, *, count: int | float, hidden: int, ffn: int, heads: int, part: str, trained: bool = True
) -> tuple[Work, Work]:
    """`count` post-LN Transformer layers, and their attention (scores and weighted sum of values) apart.

    A `count` that is no whole number stands for the mean of several depths.
    """
    t, h = shape.length, hidden
    dense = 2 * 4 * h * h + 2 * 2 * h * ffn
    around_attention = 4 * h + _DROPOUT * h + h + _NORM  # four biases, dropout, residual, LayerNorm (counted once)
    around_ffn = ffn + _GELU * ffn + h + _DROPOUT * h + h + _NORM * h
    scores = 2 * 2 * h * t
    weights = (_SOFTMAX + _DROPOUT + 1) * heads * t  # 1: the scale
    return (
        Work(part, count * t * dense, count * t * (dense + around_attention + around_ffn), trained),
        Work(f"{part}: attention", count * t * scores, count * t * (scores + weights), trained),
    )


def gated_layers(
    shape: Shape,
    *,
    count: int | float,
    hidden: int,
    ffn: int,
    heads: int,
    window: int,
    local: float,
    part: str,
    trained: bool = True,
) -> tuple[Work, Work]:
    """`count` pre-norm layers without biases, with rotary positions and a gate, and their attention apart.

    The paper's way has no such layers: its conventions are kept, and a turn by the position counts 3 an element.

    window: distance up to which a local layer sees a place; local: the share of such layers
    """
    t, h = shape.length, hidden
    dense = 2 * 4 * h * h + 2 * 3 * h * ffn
    around = 2 * (_NORM * h + _DROPOUT * h + h) + 2 * 3 * h + (_GELU + 1) * ffn
    reach = min(window, t - 1)
    seen = (1 - local) * t + local * (2 * reach + 1 - reach * (reach + 1) / t)  # keys a query; fewer at both ends
    return (
        Work(part, count * t * dense, count * t * (dense + around), trained),
        Work(
            f"{part}: attention",
            count * t * 2 * 2 * h * seen,
            count * t * (2 * 2 * h + (_SOFTMAX + 1) * heads) * seen,
            trained,
        ),
    )


def projection(shape: Shape, *, embedding: int, hidden: int, part: str, trained: bool = True) -> Work:
    """Token table, norm, dropout, and the projection where the widths differ, without biases."""
    t, e = shape.length, embedding
    project = 2 * e * hidden if e != hidden else 0
    paper = 2 * e * shape.vocab + (_NORM + _DROPOUT) * e + project
    return Work(f"{part}: embeddings", t * project, t * paper, trained)


def embeddings(shape: Shape, *, embedding: int, hidden: int, segments: int, part: str, trained: bool = True) -> Work:
    """Token, position and segment tables, LayerNorm, dropout, and the projection where the widths differ."""
    t, e = shape.length, embedding
    tables = 2 * e * (shape.vocab + t + segments) + 2 * e
    project = 2 * e * hidden if e != hidden else 0
    paper = tables + (_NORM + _DROPOUT) * e + project + (hidden if project else 0)
    return Work(f"{part}: embeddings", t * project, t * paper, trained)


def mlm_head(
    shape: Shape, *, embedding: int, hidden: int, part: str, trained: bool = True, share: float = _PREDICTED
) -> tuple[Work, Work]:
    """Dense, GELU, LayerNorm at the selected slots; and the projection to the vocabulary apart.

    share: of the places, where the paper's way has the head
    """
    e, predicted = embedding, share * shape.length
    dense, logits = 2 * hidden * e, 2 * e * shape.vocab
    softmax = (_SOFTMAX + 2) * shape.vocab  # 2: picking the true token from it
    return (
        Work(f"{part}: head", shape.selected * dense, predicted * (dense + (1 + _GELU + _NORM) * e), trained),
        Work(f"{part}: vocabulary", shape.selected * logits, predicted * (logits + softmax), trained),
    )


def rtd_head(shape: Shape, *, hidden: int, part: str) -> Work:
    """Dense, GELU and one logit at every place."""
    dense = 2 * hidden * hidden + 2 * hidden
    return Work(part, shape.length * dense, shape.length * (dense + (1 + _GELU) * hidden))


def linears(module: nn.Module, shape: Shape, part: str) -> tuple[Work, ...]:
    """Every Linear inside a module at every place: what a part costs that states nothing else; () without a Linear."""
    plain, trained = 0.0, False
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            plain += 2 * shape.length * layer.in_features * layer.out_features
            trained |= layer.weight.requires_grad
    return (Work(part, plain, plain, trained),) if plain else ()
