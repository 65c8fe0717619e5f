"""Sizes that a recipe can be run at: an encoder, the generator that goes with it, and the settings of training.

Small, base and large are the ELECTRA paper's (Clark et al., 2020, table 6); tiny is the quickstart's, ours. The modern
ones have the modern encoder in their place: base and large ModernBERT's (Warner et al., 2024, table 4), with the
ELECTRA paper's settings of training; small and tiny about as many operations as the post-LN ones, ours.
"""

from dataclasses import dataclass, replace
from typing import final

from electrain.encoders.base import Encoder
from electrain.encoders.bert import Bert
from electrain.encoders.modern import Modern
from electrain.optim.adam import Adam
from electrain.run import Run
from electrain.systems.base import Pretraining


@final
@dataclass(frozen=True)
class Size:
    """What a recipe takes from the size: `size.run("name", system)` is its Run.

    width, depth:  of a joint generator, as shares of the encoder's
    auxiliary:     layers of a frozen generator of the encoder's full width (Fast-ELECTRA)
    """

    encoder: Bert.Config | Modern.Config
    width: float
    depth: float
    auxiliary: int
    steps: int
    batch: int
    length: int
    optim: Adam
    rate: float = 0.15

    def run(self, recipe: str, system: Pretraining.Config, **fields: object) -> Run:
        """A run of a system at this size."""
        common = Run(system, recipe, self.steps, self.batch, self.length, optim=self.optim)
        if self.steps < 10_000:  # minutes: look and save more often
            common = replace(common, eval_every=500, eval_rows=512, save_every=500)
        return replace(common, **fields)  # type: ignore[arg-type]

    def generator(self) -> Encoder.Config:
        """The encoder of a frozen generator: the encoder's width, fewer layers."""
        return replace(self.encoder, layers=self.auxiliary)


_TINY = Bert.Config(
    layers=4,
    hidden=128,
    ffn=512,
    heads=4,
    embedding=128,
    positions=128,
    dropout=0.0,
    attention_dropout=0.0,
    init="fan_in",
    position_start="sinusoid",
    attention_start="local",
)
_BASE = Bert.Config(layers=12, hidden=768, ffn=3072, heads=12, embedding=768)
_LARGE = Bert.Config(layers=24, hidden=1024, ffn=4096, heads=16, embedding=1024)

TINY = Size(_TINY, 1 / 2, 1 / 4, 1, 2_700, 32, 64, Adam(lr=1.5e-3, warmup=150, betas=(0.9, 0.98)))
SMALL = Size(Bert.Config(), 1 / 4, 1.0, 4, 1_000_000, 128, 128, Adam(lr=5e-4, warmup=10_000))
BASE = Size(_BASE, 1 / 3, 1.0, 4, 766_000, 256, 512, Adam(lr=2e-4, warmup=10_000))
LARGE = Size(_LARGE, 1 / 4, 1.0, 6, 400_000, 2048, 512, Adam(lr=2e-4, warmup=10_000), rate=0.25)

# A gated network of two thirds of the width has as many weights as one of four times the hidden width.
# ModernBERT's window would hold all of tiny's rows; a narrow one brings its first million tokens on (docs/encoders.md).
_MODERN_TINY = Modern.Config(layers=4, hidden=128, ffn=320, heads=4, embedding=128, init="fan_in", window=3)
_MODERN_SMALL = Modern.Config(layers=12, hidden=256, ffn=704, heads=4, embedding=256)
_MODERN_LARGE = Modern.Config(layers=28, hidden=1024, ffn=2624, heads=16, embedding=1024)
SIZES = {
    "tiny": TINY,
    "small": SMALL,
    "base": BASE,
    "large": LARGE,
    "modern-tiny": replace(TINY, encoder=_MODERN_TINY),
    "modern-small": replace(SMALL, encoder=_MODERN_SMALL),
    "modern-base": replace(BASE, encoder=Modern.Config()),
    "modern-large": replace(LARGE, encoder=_MODERN_LARGE),
}
