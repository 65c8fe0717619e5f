"""A small language that a short training learns: rows that walk round the vocabulary in strides of their own."""

import torch

from electrain.batch import Batch
from electrain.encoders.bert import Bert
from electrain.metrics import Metrics, add, read
from electrain.optim.adam import Adam
from electrain.randomness import row_keys
from electrain.system import System
from electrain.vocab import Vocab

VOCAB = Vocab(size=36, pad=0, unk=1, cls=2, sep=3, mask=4, special=(0, 2, 3, 4))
WORDS = 31
ENCODER = Bert.Config(
    layers=2,
    hidden=64,
    ffn=128,
    heads=4,
    embedding=64,
    positions=16,
    dropout=0.0,
    attention_dropout=0.0,
    init="fan_in",
    position_start="sinusoid",
)


def text(step: int, rows: int = 32) -> Batch:
    """Rows of 16 tokens that walk in strides of 1 or 2: two neighbours tell what stands between them."""
    random = torch.Generator().manual_seed(step)
    first = torch.randint(0, WORDS, (rows, 1), generator=random)
    stride = torch.randint(1, 3, (rows, 1), generator=random)
    ids = 5 + (first + stride * torch.arange(16)) % WORDS
    ids[:, 0], ids[:, -1] = VOCAB.cls, VOCAB.sep
    maskable = (ids != VOCAB.cls) & (ids != VOCAB.sep)
    real = torch.ones_like(maskable)
    return Batch(ids, torch.zeros_like(ids), real, maskable, row_keys(3, step, torch.arange(rows)))


def learnt(config: System.Config, steps: int = 200) -> System:
    """A system after a short training."""
    torch.manual_seed(1)
    system = config.build(VOCAB)
    adam = Adam(lr=3e-3, warmup=20, betas=(0.9, 0.98), schedule="cosine")
    optimizer = adam.build(system)
    for step in range(steps):
        adam.set_rate(optimizer, step, steps)
        system(text(step), torch.full((), step / steps)).loss.backward()
        adam.clip_gradients(system)
        optimizer.step()
        optimizer.zero_grad()
    return system


def figures(system: System) -> dict[str, float]:
    """A system's metrics on rows that it has not seen, at the end of training."""
    total: Metrics | None = None
    system.eval()
    with torch.no_grad():
        for step in range(8):
            total = add(total, system(text(10**6 + step, 64), torch.ones(())).metrics)
    assert total is not None
    return read(total)
