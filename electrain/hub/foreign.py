"""Any masked language model of transformers, frozen: RoBERTa, DistilBERT, ModernBERT, whatever has a MaskedLM.

ELECTRA and BERT come this way only where our own encoder does not compute the same (`hub/masked_lm.py`).
"""

import inspect
import json
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from electrain.batch import Batch, Selection, gather
from electrain.cost import Shape, Work
from electrain.errors import UserError
from electrain.hub.folder import quiet
from electrain.hub.reading import config_at, network_at
from electrain.randomness import Drop
from electrain.source import MaskedLm
from electrain.vocab import Vocab

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What would load code from elsewhere, and what says nothing about the network.
_LEFT_OUT = {"auto_map", "custom_pipelines", "_name_or_path", "transformers_version", "dtype"}


@final
class Foreign(MaskedLm):
    """A transformers model behind our interface. Always in evaluation mode; its dropout cannot be set.

    Its head is run at the picked places alone: a hook on the base model hands it only their vectors. Whether the head
    does read every place for itself is tried when the model is loaded (`probe`); where it does not, all logits are
    computed and the picked ones kept.

    torch.compile captures it whole, hook included: tried with RoBERTa, DistilBERT, ModernBERT, ALBERT, DeBERTa-v2,
    MPNet, ConvBERT, XLM, Funnel, MobileBERT, FNet and RemBERT. Where it cannot, the step says so and runs as it is.
    """

    @dataclass(frozen=True)
    class Config(MaskedLm.Config):
        """All that is needed to build the network again without the place that it came from."""

        settings: str
        """transformers' configuration, as JSON."""
        longest: int
        """Tokens of the longest row."""
        apart: bool = True
        """Whether the head reads every place for itself."""

        drops: ClassVar[bool] = False

        def build(self, vocab: Vocab) -> "Foreign":
            return Foreign(self, vocab)

        def check(self, length: int) -> None:
            if length > self.longest:
                raise UserError(f"run: length is {length}, but the generator reads at most {self.longest} tokens")

    config: Config

    def __init__(self, config: Config, vocab: Vocab):
        super().__init__()
        self.config = config
        self.size = vocab.size
        self.network = _fresh(config.settings)
        self.segments = _reads_segments(self.network)
        self.index: Tensor | None = None  # the places whose vectors go on to the head; all without it
        self.network.base_model.register_forward_hook(self._hand_on)
        self.eval()

    def train(self, mode: bool = True) -> "Foreign":
        """Stays in evaluation mode, whatever its system does."""
        return super().train(False)

    def logits(
        self, ids: Int[Tensor, "b t"], batch: Batch, picked: Selection, drop: Drop | None = None
    ) -> Float[Tensor, "b k v"]:
        if self.config.apart:
            return self._read(ids, batch, picked.index)
        return gather(self._read(ids, batch, None), picked.index)

    def probe(self) -> bool:
        """Whether the logits computed at some places alone are those among all logits, on two rows."""
        ids = torch.randint(self.size, (2, 8), generator=torch.Generator().manual_seed(0))
        real = torch.ones_like(ids, dtype=torch.bool)
        batch = Batch(ids, torch.zeros_like(ids), real, real, torch.zeros(2, dtype=torch.int64))
        index = torch.tensor([[1, 4, 6], [0, 3, 7]])
        with torch.no_grad():
            whole = gather(self._read(ids, batch, None), index)
            try:
                alone = self._read(ids, batch, index)
            except (RuntimeError, IndexError, ValueError, TypeError, AttributeError):  # the head wants the whole row
                self.index = None
                return False
        return alone.shape == whole.shape and torch.allclose(alone, whole, rtol=1e-4, atol=1e-5)

    def cost(self, shape: Shape, part: str, *, trained: bool) -> tuple[Work, ...]:
        """As torch counts the matrix products of a pass; both counts are the plain one."""
        body, head = _operations(self.config.settings, shape.length)
        if self.config.apart:
            head = head * shape.selected / shape.length
        return Work(part, body, body, trained), Work(f"{part}: head", head, head, trained)

    def _read(self, ids: Tensor, batch: Batch, index: Tensor | None) -> Tensor:
        self.index = index
        about = {"input_ids": ids, "attention_mask": batch.real.long()}
        if self.segments:
            about["token_type_ids"] = batch.segments % 2  # the place in a pair, without the document
        logits = self.network(**about).logits
        self.index = None
        return logits[..., : self.size]  # an output table may be padded: what lies behind the vocabulary is no token

    def _hand_on(self, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        return output if self.index is None else type(output)(last_hidden_state=gather(output[0], self.index))


def load(place: str, vocab: Vocab) -> Foreign:
    """The masked language model of a folder or a Hub name; only safetensors are read, no code from there runs.

    UserError if there is none, or its output has fewer tokens than the data.
    """
    from transformers import AutoModelForMaskedLM

    theirs = config_at(place)
    if getattr(theirs, "is_encoder_decoder", False) or getattr(theirs, "is_decoder", False):
        raise UserError(f"{place}: is a {theirs.model_type} with a decoder; choose a masked language model")
    if theirs.vocab_size < vocab.size:
        raise UserError(f"{place}: knows {theirs.vocab_size} tokens, the data {vocab.size}; prepare with its tokenizer")
    network, missing = network_at(place, AutoModelForMaskedLM, "masked language model")
    if missing:
        raise UserError(f"{place}: lacks weights of a masked language model ({min(missing)}, {len(missing)} in all)")
    tree = json.loads(theirs.to_json_string(use_diff=False))
    settings = json.dumps({key: value for key, value in sorted(tree.items()) if key not in _LEFT_OUT})
    config = Foreign.Config(settings, _longest(network))
    made = config.build(vocab)
    made.network.load_state_dict(network.state_dict())
    if not made.probe():
        made.config = replace(config, apart=False)
    return made


def _fresh(settings: str, attention: str | None = None) -> "PreTrainedModel":
    from transformers import AutoConfig, AutoModelForMaskedLM

    tree = json.loads(settings)
    config = AutoConfig.for_model(tree.pop("model_type"), **tree)
    with quiet():
        network = AutoModelForMaskedLM.from_config(config, trust_remote_code=False, attn_implementation=attention)
    if network.base_model is network:
        raise UserError(f"{type(network).__name__}: has no base model beside its head; choose another masked LM")
    return network.float()


@cache
def _operations(settings: str, length: int) -> tuple[int, int]:
    """Of the base model and of the head, for one row with logits everywhere."""
    # A real pass: some models look at numbers. With plain attention: the fused kinds are not counted on every device.
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        network = _fresh(settings, "eager").eval()
        ids = torch.zeros(1, length, dtype=torch.int64)
    found = []
    for module in (network.base_model, network):
        with FlopCounterMode(display=False) as counter:
            module(input_ids=ids)
        found.append(counter.get_total_flops())
    return found[0], found[1] - found[0]


def _longest(network: "PreTrainedModel") -> int:
    """Positions of a model, without those that stand for padding (RoBERTa counts from behind the padding id)."""
    positions = int(getattr(network.config, "max_position_embeddings", 0) or 2**31)
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            positions -= module.padding_idx + 1
    return positions


def _reads_segments(network: "PreTrainedModel") -> bool:
    types = getattr(network.config, "type_vocab_size", 0) or 0
    return types > 1 and "token_type_ids" in inspect.signature(network.forward).parameters
