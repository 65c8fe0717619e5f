"""How positions start: sinusoids as published, and heads that look at the neighbour they were given."""

import math

import numpy as np
import pytest
import torch

from electrain.encoders.bert import Bert
from electrain.encoders.positions import sinusoids
from electrain.errors import UserError
from electrain.vocab import Vocab

VOCAB = Vocab(400, 0, 1, 2, 3, 4, (0, 2, 3, 4))


def test_sinusoids_are_the_published_ones() -> None:
    table = sinusoids(50, 12).numpy()
    for place in (0, 1, 7, 49):
        for pair in range(6):
            angle = place / 10_000 ** (2 * pair / 12)
            np.testing.assert_allclose(table[place, 2 * pair], math.sin(angle), atol=1e-5)
            np.testing.assert_allclose(table[place, 2 * pair + 1], math.cos(angle), atol=1e-5)


def local(hidden: int, heads: int, embedding: int) -> Bert:
    torch.manual_seed(0)
    return Bert.Config(
        layers=4,
        hidden=hidden,
        ffn=2 * hidden,
        heads=heads,
        embedding=embedding,
        init="fan_in",
        position_start="sinusoid",
        attention_start="local",
    ).build(VOCAB)


@pytest.mark.parametrize(
    ("hidden", "heads", "embedding", "distances"),
    [(128, 4, 128, [-1, 1, -2, 2]), (256, 4, 128, [-1, 1, -2, 2]), (64, 1, 128, [-1])],
)
def test_first_layer_looks_at_its_neighbours(hidden: int, heads: int, embedding: int, distances: list[int]) -> None:
    encoder = local(hidden, heads, embedding)
    ids = torch.randint(5, 400, (8, 64))
    x = encoder.embeddings(ids, None, None)
    x = encoder.project(x) if encoder.project is not None else x
    q, k, _ = encoder.layers[0].attention.qkv(x).view(8, 64, 3, heads, hidden // heads).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-1, -2) / math.sqrt(hidden // heads)).softmax(-1)
    for head, distance in enumerate(distances):
        mass = {offset: weights[:, head].diagonal(offset, 1, 2).mean().item() for offset in range(-5, 6)}
        assert max(mass, key=lambda offset: mass[offset]) == distance, mass
        assert mass[distance] > 0.25  # of 64 places, chance is 0.016


def test_one_head_a_layer_takes_the_distances_in_turn() -> None:
    encoder = local(64, 1, 128)
    starts = [layer.attention.qkv.weight[:64] for layer in encoder.layers]
    assert not any(torch.equal(starts[a], starts[b]) for a in range(4) for b in range(a))


def test_a_shared_table_is_started_once() -> None:
    encoder = local(128, 4, 128)
    table = encoder.tokens.weight.detach().clone()
    encoder.config.scaled(0.5, 0.5).build(VOCAB, encoder.embeddings)
    assert torch.equal(table, encoder.tokens.weight)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(UserError, match="position_start sinusoid"):
        Bert.Config(attention_start="local")
    with pytest.raises(UserError, match="above 32"):
        Bert.Config(hidden=32, heads=1, attention_start="local", position_start="sinusoid")
