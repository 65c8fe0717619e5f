"""The modern encoder to and from transformers' ModernBERT, by really loading what was written."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertTokenizerFast,
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertForTokenClassification,
    ModernBertModel,
    pipeline,
)

from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.data.tokenizer import load_tokenizer, vocab_of
from electrain.encoders.head import MlmHead, RtdHead
from electrain.encoders.masked_lm import EncoderLm
from electrain.encoders.modern import Modern
from electrain.errors import UserError
from electrain.hub import encoder_config_of, from_transformers, load_into, to_transformers
from electrain.hub.foreign import Foreign
from electrain.hub.masked_lm import load as frozen
from electrain.hub.modernbert import canonical
from electrain.hub.opened import opened
from electrain.hub.weights import Model, part_of, parts
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.system import System
from electrain.systems.networks import Part
from tests.test_hub import CLOSE, TEXTS, WORDS, shaken

SIZES = Modern.Config(
    layers=4, hidden=32, ffn=24, heads=4, embedding=32, positions=24, window=3, global_every=3, theta=900.0
)
ELECTRA = System.Config(SIZES, Joint.Config(width=1.0, depth=0.5, tying="none"), Rtd.Config(), weight=50.0)
BERT = System.Config(SIZES, Mask.Config(), Mlm.Config())


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    folder = tmp_path / "tokenizer"
    BertTokenizerFast(vocab={word: number for number, word in enumerate(WORDS)}).save_pretrained(folder)
    return folder


def fed(folder: Path) -> dict[str, Tensor]:
    return dict(
        AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
    )


def hidden(model: Model, words: dict[str, Tensor]) -> Tensor:
    return model.encoder(words["input_ids"], words["attention_mask"].bool())


@pytest.mark.parametrize(
    ("config", "part", "kind"),
    [
        (ELECTRA, "discriminator", ModernBertForTokenClassification),
        (ELECTRA, "generator", ModernBertForMaskedLM),
        (BERT, "bert", ModernBertForMaskedLM),
        (replace(BERT, encoder=replace(SIZES, window=0)), "bert", ModernBertForMaskedLM),
    ],
)
def test_transformers_loads_it_and_computes_the_same(
    config: System.Config,
    part: Part,
    kind: Any,
    tokenizer: Path,
    tmp_path: Path,
) -> None:
    vocab = vocab_of(load_tokenizer(tokenizer))
    system, folder = shaken(config, vocab), tmp_path / "out"
    to_transformers(system, vocab, tokenizer, folder, part, "---\n---\ncard")
    words, model = fed(folder), part_of(system, part)
    real = words["attention_mask"].bool()
    loaded, report = kind.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    with torch.no_grad():
        bare = AutoModel.from_pretrained(folder)
        assert type(bare) is ModernBertModel
        torch.testing.assert_close(bare(**words).last_hidden_state[real], hidden(model, words)[real], **CLOSE)
        theirs = loaded(**words).logits[real]
        if isinstance(model.head, RtdHead):
            logit = model.head(hidden(model, words))[real]
            torch.testing.assert_close(theirs.softmax(-1)[:, 1], logit.sigmoid(), **CLOSE)
            said = pipeline("token-classification", str(folder))(TEXTS[1])
            assert {one["entity"] for one in said} == {"original", "replaced"}
        else:
            logits = model.head(hidden(model, words), model.encoder.tokens.weight)[real]
            torch.testing.assert_close(theirs, logits, **CLOSE)
    again = opened(folder)
    assert again.encoder.config == canonical(model.encoder.config)
    assert (again.rtd is not None, again.lm is not None) == (
        (True, False) if part == "discriminator" else (False, True)
    )
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(again.encoder.state_dict()[name], value), name


def test_sentence_transformers_loads_it(tokenizer: Path, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    vocab = vocab_of(load_tokenizer(tokenizer))
    system = shaken(ELECTRA, vocab)
    to_transformers(system, vocab, tokenizer, tmp_path / "out", "discriminator", "")
    words = fed(tmp_path / "out")
    real = words["attention_mask"].bool()
    with torch.no_grad():
        rows = zip(hidden(part_of(system, "discriminator"), words), real, strict=True)
        expected = torch.stack([row[keep].mean(0) for row, keep in rows])
    sentences = library.SentenceTransformer(str(tmp_path / "out"), device="cpu")
    torch.testing.assert_close(sentences.encode(TEXTS, convert_to_tensor=True), expected, **CLOSE)


@pytest.fixture
def published(tmp_path: Path, tokenizer: Path) -> Callable[..., Path]:
    """Writes a folder of random weights with transformers alone, with the tokenizer."""

    def make(kind: Any, name: str, **changes: object) -> Path:
        sizes: dict[str, Any] = dict(
            vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=24,
            max_position_embeddings=24, initializer_range=0.3, local_attention=6, pad_token_id=0, cls_token_id=2,
            bos_token_id=2, sep_token_id=3, eos_token_id=3,
        )  # fmt: skip
        made = kind(ModernBertConfig(**{**sizes, **changes}))
        if isinstance(made, ModernBertForMaskedLM):
            torch.nn.init.normal_(made.decoder.bias)  # zero at the start, and one row would be like another
        made.save_pretrained(tmp_path / name)
        load_tokenizer(tokenizer).save_pretrained(tmp_path / name)
        return tmp_path / name

    return make


@pytest.mark.parametrize("padded", [False, True])
def test_a_published_one_comes_in(padded: bool, published: Callable[..., Path], tokenizer: Path) -> None:
    folder = published(ModernBertForMaskedLM, "published", **({"vocab_size": 64} if padded else {}))
    assert encoder_config_of(folder) == replace(SIZES, theta=160_000.0, init_scale=0.3)
    loaded = from_transformers(folder)
    assert isinstance(loaded.config.objective, Mlm.Config) and loaded.said.endswith("fresh: nothing")
    model, words = part_of(loaded.system.eval(), "bert"), fed(folder)
    real = words["attention_mask"].bool()
    with torch.no_grad():
        assert isinstance(model.head, MlmHead)
        ours = model.head(hidden(model, words), model.encoder.tokens.weight)[real]
        theirs = ModernBertForMaskedLM.from_pretrained(folder).eval()(**words).logits[real][:, : len(WORDS)]
    torch.testing.assert_close(ours, theirs, **CLOSE)
    # As the start of a discriminator, whose head is another one; and as a frozen generator.
    rtd = System(System.Config(loaded.config.encoder, Mask.Config(), Rtd.Config()), loaded.vocab)
    assert load_into(rtd, folder, tokenizer=tokenizer).endswith("fresh: its head")
    generator = frozen(str(folder), tokenizer)
    assert isinstance(generator, EncoderLm) and isinstance(generator.encoder, Modern)
    assert torch.equal(generator.encoder.tokens.weight, model.encoder.tokens.weight)


def test_a_classifier_of_other_labels_brings_no_verdict(published: Callable[..., Path]) -> None:
    made = opened(published(ModernBertForTokenClassification, "tagger", num_labels=2))
    assert made.rtd is None and made.lm is None and isinstance(made.encoder, Modern)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"norm_bias": True}, "norm_bias is True"),
        ({"hidden_activation": "silu"}, "hidden_activation is silu"),
        (
            {"layer_types": ["full_attention", "full_attention", "sliding_attention", "full_attention"]},
            "even distances",
        ),
        ({"local_attention": 1}, "local_attention is 1, so that a place sees itself alone"),
        ({"max_position_embeddings": 0}, "max_position_embeddings is 0"),
    ],
)
def test_what_it_does_not_compute_is_refused(
    changes: dict[str, Any], words: str, published: Callable[..., Path]
) -> None:
    with pytest.raises(UserError, match=words):
        encoder_config_of(published(ModernBertModel, "other", **changes))


def test_a_frozen_one_that_sees_no_neighbour_stays_with_transformers(
    published: Callable[..., Path], tokenizer: Path
) -> None:
    folder = published(ModernBertForMaskedLM, "alone", local_attention=1)
    assert isinstance(frozen(str(folder), tokenizer), Foreign)
    everywhere = published(ModernBertModel, "everywhere", local_attention=1, layer_types=["full_attention"] * 4)
    assert encoder_config_of(everywhere).window == 0


def test_what_modernbert_does_not_compute_is_not_exported(tokenizer: Path, tmp_path: Path) -> None:
    vocab = vocab_of(load_tokenizer(tokenizer))
    for sizes in (replace(SIZES, embedding=16), replace(SIZES, norm="rms")):
        system = System(replace(BERT, encoder=sizes), vocab)
        assert not parts(system)
        with pytest.raises(UserError, match="has no bert that transformers can hold; it has: nothing that"):
            to_transformers(system, vocab, tokenizer, tmp_path / "out", "bert", "")
