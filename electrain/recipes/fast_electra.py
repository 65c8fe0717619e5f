"""Fast-ELECTRA for Efficient Pre-training (Dong et al., ICLR 2024, 2310.07347), and what it is compared with.

The generator is a masked LM that was trained before; it is frozen, and what it proposes is smoothed, less and less as
training goes on. It is named with `--system.corruptor.source`: a run of ours, a folder that transformers loads or a
Hub name, with the data's own tokenizer. `fast_electra_from_scratch` trains it itself. There is no generator loss, so
the weight of the discriminator's loss is left at 1.

The paper's values are not in the digests that we have: start 2 and decay 0.1 of the temperature are from memory, a
default to sweep; the values of the other schedules and of the other ways to smooth are ours.
"""

from dataclasses import replace

from electrain.corruptors.base import Corruptor
from electrain.corruptors.frozen import FALLING, Frozen
from electrain.corruptors.mask import Mask
from electrain.corruptors.mixture import Mixture
from electrain.corruptors.unigram import Unigram
from electrain.curriculum import ONE, Kind, Schedule
from electrain.encoders.masked_lm import EncoderLm
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.recipes.sizes import BASE, LARGE, Size
from electrain.run import Run
from electrain.system import System


def fast_electra(size: Size = BASE, kind: Kind = "exponential") -> Run:
    """Fast-ELECTRA: a frozen generator whose temperature falls from 2 to 1 (Dong et al., 2024, section 3).

    Base takes a generator of 4 layers of its own width, Large one of 6; any other may be named. The other kinds of
    schedule are those that the paper compares; their span, the first half of training, is our choice.

    electrain pretrain fast_electra --data DIR --out RUN --system.corruptor.source RUN|HF
    """
    return _run("fast_electra", size, _frozen(size, FALLING if kind == "exponential" else _falling(kind)))


def fast_electra_large() -> Run:
    """Fast-ELECTRA-Large, with a frozen generator of 6 layers (Dong et al., 2024, section 4).

    electrain pretrain fast_electra_large --data DIR --out RUN --system.corruptor.source RUN|HF
    """
    return replace(fast_electra(LARGE), recipe="fast_electra_large")


def fast_electra_constant(size: Size = BASE) -> Run:
    """A frozen generator at temperature 1 throughout, no curriculum: worse (Dong et al., 2024, section on ablation).

    electrain pretrain fast_electra_constant --data DIR --out RUN --system.corruptor.source RUN|HF
    """
    return _run("fast_electra_constant", size, _frozen(size, ONE))


def fast_electra_dropout(size: Size = BASE) -> Run:
    """Smoothing by the frozen generator's dropout, from 0.5 to 0 (Dong et al., 2024, section on other smoothing).

    The temperature stays 1. Values and schedule are our choice. The generator must be a run of ours, an ELECTRA or a
    BERT: of other models the dropout cannot be set.

    electrain pretrain fast_electra_dropout --data DIR --out RUN --system.corruptor.source RUN|HF
    """
    frozen = replace(_frozen(size, ONE), dropout=Schedule("exponential", start=0.5, end=0.0, decay=0.1))
    return _run("fast_electra_dropout", size, frozen)


def fast_electra_rate(size: Size = BASE) -> Run:
    """Smoothing by the selected share, from 2 to 1 times the usual one (Dong et al., 2024, section on other smoothing).

    The more is masked, the less the generator has to go by. The temperature stays 1. Values and schedule are our
    choice.

    electrain pretrain fast_electra_rate --data DIR --out RUN --system.corruptor.source RUN|HF
    """
    frozen = _frozen(size, ONE)
    moving = Schedule("exponential", start=1.0, end=0.5, decay=0.1)
    return _run("fast_electra_rate", size, replace(frozen, rate=2 * frozen.rate, selection=moving))


def electra_uniform(size: Size = BASE) -> Run:
    """Replacements drawn uniformly from the vocabulary; ours, the floor below the unigram generator.

    electrain pretrain electra_uniform --data DIR --out RUN
    """
    return _run("electra_uniform", size, Unigram.Config(rate=size.rate, law="uniform"))


def electra_unigram(size: Size = BASE) -> Run:
    """The unigram generator, the worst of those compared (Clark et al., 2020, section 3.2 and figure 3).

    electrain pretrain electra_unigram --data DIR --out RUN
    """
    return _run("electra_unigram", size, Unigram.Config(rate=size.rate))


def electra_tempered_unigram(size: Size = BASE) -> Run:
    """A model-free curriculum: the unigram law tempered from 2 to 1 (Dong et al., 2024, section on other curricula).

    That curricula may do without a model is the paper's; this form, p ~ frequency ** (1 / T), is our choice.

    electrain pretrain electra_tempered_unigram --data DIR --out RUN
    """
    return _run("electra_tempered_unigram", size, Unigram.Config(rate=size.rate, temperature=FALLING))


def fast_electra_hybrid(size: Size = BASE) -> Run:
    """Unigram samples give way to a frozen generator's; ours (hybrids are an open question of Dong et al., 2024).

    All places take the unigram sample at the beginning, none from the middle of training on.

    electrain pretrain fast_electra_hybrid --data DIR --out RUN --system.corruptor.second.source RUN|HF
    """
    mixture = Mixture.Config(
        Unigram.Config(rate=size.rate), _frozen(size, ONE), Schedule("linear", start=1.0, end=0.0, span=0.5)
    )
    return _run("fast_electra_hybrid", size, mixture)


def fast_electra_from_scratch(size: Size = BASE) -> Run:
    """Fast-ELECTRA whose generator is trained first, by the same command; ours (the paper takes one that exists).

    The first stage, OUT/first, lasts a quarter as long as the second; 85 % of its selected places are masked and the
    rest stay, which is what the generator reads later. Both are our choice; its options begin with --first.

    electrain pretrain fast_electra_from_scratch --data DIR --out RUN [--first.steps N --steps N]
    """
    name = "fast_electra_from_scratch"
    steps = max(1, size.steps // 4)
    masked_lm = System.Config(size.generator(), Mask.Config(rate=size.rate, masked=0.85, random=0.0), Mlm.Config())
    optim = replace(size.optim, warmup=min(size.optim.warmup, steps // 2))
    first = size.run(name, masked_lm, steps=steps, optim=optim)
    return replace(_run(name, size, _frozen(size, FALLING)), first=first)


def _falling(kind: Kind) -> Schedule:
    return Schedule(kind, start=1.0 if kind == "constant" else 2.0, end=1.0, span=0.5)


def _frozen(size: Size, temperature: Schedule) -> Frozen.Config:
    return Frozen.Config(generator=EncoderLm.Config(size.generator()), rate=size.rate, temperature=temperature)


def _run(name: str, size: Size, corruptor: Corruptor.Config) -> Run:
    return size.run(name, System.Config(size.encoder, corruptor, Rtd.Config()))
