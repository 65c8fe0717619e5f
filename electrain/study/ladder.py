"""The studies: which recipes are laid beside each other. A function that returns a `Study`, found by its name."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass

from electrain.errors import UserError
from electrain.recipes.ablations import all_tokens_mlm, electra_15, replace_mlm
from electrain.recipes.adversarial import electra_adversarial
from electrain.recipes.amos import amos
from electrain.recipes.bert import bert
from electrain.recipes.coco_lm import coco_lm
from electrain.recipes.deberta import electra_gdes
from electrain.recipes.decoupled import electra_decoupled
from electrain.recipes.electra import electra
from electrain.recipes.electric import electric
from electrain.recipes.embeddings import emb_gen
from electrain.recipes.fast_electra import electra_unigram, fast_electra, fast_electra_constant
from electrain.recipes.kang import adaptive_early_exit, early_exit_discriminator
from electrain.recipes.two_stage import electra_two_stage
from electrain.run import Run


@dataclass(frozen=True)
class Study:
    """recipes: functions of a `size`; baseline: the one whose steps a budget may be given in."""

    recipes: tuple[Callable[..., Run], ...]
    baseline: Callable[..., Run] = electra


def ladder() -> Study:
    """From BERT over ELECTRA's ablations (Clark et al., 2020, section 3.5) to ELECTRA and its descendants.

    What needs a trained generator trains it first, within the same operations. Left out: what reads a cache made
    beforehand (`fast_electra_cached`), and variants of one system; name them with --recipes.
    """
    return Study(
        (
            bert,
            replace_mlm,
            all_tokens_mlm,
            electra_15,
            electra,
            electra_unigram,
            electra_two_stage,
            electra_adversarial,
            electra_decoupled,
            electra_gdes,
            fast_electra_constant,
            fast_electra,
            adaptive_early_exit,
            early_exit_discriminator,
            emb_gen,
            amos,
            coco_lm,
            electric,
        )
    )


def study(name: str) -> Study:
    """A study by its name. UserError if there is none."""
    found: dict[str, Callable[[], Study]] = {
        key: function
        for key, function in vars(sys.modules[__name__]).items()
        if inspect.isfunction(function) and inspect.signature(function).return_annotation is Study and key != "study"
    }
    if name not in found:
        raise UserError(f"there is no study {name!r}; choose one of {', '.join(found)}")
    return found[name]()
