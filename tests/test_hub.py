"""To and from transformers, by really loading what was written."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
    BertTokenizerFast,
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    RobertaConfig,
    pipeline,
)

from electrain import checkpoint
from electrain.corruptors.joint import Joint
from electrain.corruptors.mask import Mask
from electrain.data.manifest import Manifest, Shard, Source
from electrain.data.tokenizer import load_tokenizer, vocab_of
from electrain.encoders.bert import Bert
from electrain.encoders.masked_lm import EncoderLm
from electrain.errors import UserError
from electrain.hub import (
    encoder_config_of,
    export,
    from_transformers,
    generator_scale_of,
    load_into,
    push,
    to_transformers,
)
from electrain.hub.folder import whole
from electrain.hub.masked_lm import load as frozen
from electrain.hub.weights import Model, part_of, parts
from electrain.objectives.mlm import Mlm
from electrain.objectives.rtd import Rtd
from electrain.run import Record, Run
from electrain.system import System
from electrain.systems.networks import Part
from electrain.vocab import Vocab

WORDS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "a",
    "mat", "moon", ".", "and", "dog", "ran", "to", "house", "##s", "##ing",
]  # fmt: skip
SIZES = Bert.Config(layers=2, hidden=32, ffn=48, heads=4, embedding=16, positions=24)
ELECTRA = System.Config(SIZES, Joint.Config(width=0.25), Rtd.Config(), weight=50.0)
BERT = System.Config(replace(SIZES, embedding=32), Mask.Config(), Mlm.Config())
NARROW_BERT = System.Config(SIZES, Mask.Config(), Mlm.Config())
TEXTS = ["The cat sat on the [MASK].", "a dog ran to the house and the cats sat on a [MASK] and the moon ."]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    folder = tmp_path / "tokenizer"
    BertTokenizerFast(vocab={word: number for number, word in enumerate(WORDS)}).save_pretrained(folder)
    return folder


def shaken(config: System.Config, vocab: Vocab) -> System:
    """A system whose weights are far from their start, so that no two logits are alike."""
    made = System(config, vocab)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return made.eval()


def ours(model: Model, fed: dict[str, Tensor]) -> Tensor:
    hidden = model.encoder(fed["input_ids"], fed["attention_mask"].bool(), fed["token_type_ids"])
    table = (model.encoder.tokens.weight,) if part_name(model) == "MlmHead" else ()
    return model.head(hidden, *table)


def part_name(model: Model) -> str:
    return type(model.head).__name__


@pytest.mark.parametrize(
    ("config", "part", "kind"),
    [
        (ELECTRA, "discriminator", ElectraForPreTraining),
        (ELECTRA, "generator", ElectraForMaskedLM),
        (BERT, "bert", BertForMaskedLM),
        (NARROW_BERT, "bert", ElectraForMaskedLM),
    ],
)
def test_transformers_loads_it_and_computes_the_same(
    config: System.Config, part: Part, kind: type, tokenizer: Path, tmp_path: Path
) -> None:
    vocab = vocab_of(load_tokenizer(tokenizer))
    system = shaken(config, vocab)
    folder = tmp_path / "out"
    to_transformers(system, vocab, tokenizer, folder, part, "---\n---\ncard")
    words = AutoTokenizer.from_pretrained(folder)
    assert words.model_max_length == SIZES.positions
    fed = dict(words(TEXTS, padding=True, return_tensors="pt"))
    auto = AutoModelForPreTraining if part == "discriminator" else AutoModelForMaskedLM
    loaded, report = auto.from_pretrained(folder, output_loading_info=True)
    assert type(loaded) is kind
    assert not report["missing_keys"] and not report["unexpected_keys"]
    model = part_of(system, part)
    with torch.no_grad():
        real = fed["attention_mask"].bool()
        logits = ours(model, fed)
        torch.testing.assert_close(loaded(**fed).logits[real], logits[real], **CLOSE)
        hidden = model.encoder(fed["input_ids"], real, fed["token_type_ids"])
        bare = AutoModel.from_pretrained(folder)
        torch.testing.assert_close(bare(**fed).last_hidden_state[real], hidden[real], **CLOSE)
    if part != "discriminator":
        best = pipeline("fill-mask", str(folder))(TEXTS[0])[0]
        at = (fed["input_ids"][0] == vocab.mask).nonzero().item()
        assert best["token"] == logits[0, at].argmax().item()
        assert best["score"] == pytest.approx(logits[0, at].softmax(-1).max().item(), rel=1e-4)


def test_sentence_transformers_loads_it(tokenizer: Path, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    vocab = vocab_of(load_tokenizer(tokenizer))
    system = shaken(ELECTRA, vocab)
    folder = str(tmp_path / "out")
    to_transformers(system, vocab, tokenizer, folder, "discriminator", "")
    fed = dict(AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt"))
    with torch.no_grad():
        real = fed["attention_mask"].bool()
        hidden = system.encoder(fed["input_ids"], real, fed["token_type_ids"])
    expected = torch.stack([row[keep].mean(0) for row, keep in zip(hidden, real, strict=True)])
    by_hand = library.SentenceTransformer(modules=[Transformer(folder), Pooling(SIZES.hidden, "mean")], device="cpu")
    for sentences in (library.SentenceTransformer(folder, device="cpu"), by_hand):
        assert sentences.max_seq_length == SIZES.positions
        torch.testing.assert_close(sentences.encode(TEXTS, convert_to_tensor=True), expected, **CLOSE)
        assert sentences.encode("the cat " * 40).shape == (SIZES.hidden,)  # longer than it takes: cut, no failure


def test_what_a_system_can_be_exported_as(tokenizer: Path, tmp_path: Path) -> None:
    vocab = vocab_of(load_tokenizer(tokenizer))
    all_tied = replace(SIZES, embedding=32), Joint.Config(width=1.0, tying="all"), Rtd.Config()
    assert list(parts(System(ELECTRA, vocab))) == ["discriminator", "generator"]
    assert list(parts(System(BERT, vocab))) == ["bert"]
    assert list(parts(System(System.Config(SIZES, Joint.Config(), Mlm.Config()), vocab))) == ["bert", "generator"]
    tied = System(System.Config(*all_tied), vocab)
    assert part_of(tied, "generator").encoder is part_of(tied, "discriminator").encoder
    with pytest.raises(UserError, match="has no generator; it has: bert"):
        to_transformers(System(BERT, vocab), vocab, tokenizer, tmp_path / "out", "generator", "")
    assert not (tmp_path / "out").exists()


def test_what_a_person_put_into_an_export_stays(tokenizer: Path, tmp_path: Path) -> None:
    vocab = vocab_of(load_tokenizer(tokenizer))
    system, out = shaken(ELECTRA, vocab), tmp_path / "out"

    def again() -> None:
        to_transformers(system, vocab, tokenizer, out, "discriminator", "a card")

    again()
    again()  # as it was written: it is replaced
    (out / "NOTES.md").write_text("years of work")
    (out / "README.md").write_text("a card, and the licence")
    with pytest.raises(UserError, match=r"out: NOTES.md, README.md changed or came since the export") as refused:
        again()
    assert len(str(refused.value).splitlines()) == 1
    assert (out / "README.md").read_text() == "a card, and the licence" and (out / "NOTES.md").exists()
    (out / "NOTES.md").unlink()
    (out / "README.md").write_text("a card")
    again()
    (out / "electrain.json").write_text("{}")  # of an export that says nothing of its files
    again()


def test_a_disk_that_fills_up_under_safetensors_is_said_in_a_line(tmp_path: Path) -> None:
    said = r"out: cannot be written \(.*No space left on device.*\); what was there"
    with pytest.raises(UserError, match=said), whole(tmp_path / "out"):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert not list(tmp_path.iterdir())


def test_a_folder_is_whole_or_not_there(tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vocab = vocab_of(load_tokenizer(tokenizer))
    system = shaken(ELECTRA, vocab)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="no export of electrain"):
        to_transformers(system, vocab, tokenizer, foreign, "discriminator", "")
    with pytest.raises(UserError, match="is a file"):
        to_transformers(system, vocab, tokenizer, foreign / "thesis.txt", "discriminator", "")
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]

    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)  # empty: taken
    to_transformers(system, vocab, tokenizer, out, "discriminator", "first")
    before = {path.name for path in out.iterdir()}
    assert (out / "model.safetensors").stat().st_mode & 0o044 == (out / "README.md").stat().st_mode & 0o044

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(BertTokenizerFast, "save_pretrained", full)
        with pytest.raises(UserError, match="No space left"):
            to_transformers(system, vocab, tokenizer, out, "generator", "second")
    assert (out / "README.md").read_text() == "first" and {path.name for path in out.iterdir()} == before
    to_transformers(system, vocab, tokenizer, out, "generator", "third")
    assert (out / "README.md").read_text() == "third"
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    with pytest.raises(UserError, match="tokenizer that the model was trained with"):
        to_transformers(system, replace(vocab, size=99), tokenizer, out, "discriminator", "")


def a_run(folder: Path, tokenizer: Path, config: System.Config, steps: tuple[int, ...]) -> list[System]:
    """A run folder with a checkpoint for each step and other weights in each."""
    folder.mkdir()
    vocab = vocab_of(load_tokenizer(tokenizer))
    load_tokenizer(tokenizer).save_pretrained(folder / "tokenizer")
    data = folder.parent / "data"
    data.mkdir()
    shard = Shard("train/00000.ds", 900, 7, "0" * 64, "0" * 64, 2.0)
    source = Source("/somewhere/on/a/disk/my|corpus.txt", 2.0, 7, 4321)
    Manifest("uint16", vocab, "", (shard,), (), (source,), 0.0, "", "").save(data)
    digest = hashlib.sha256((data / "manifest.json").read_bytes()).hexdigest()
    run = Run(config, recipe="electra_tiny", steps=100, batch=4, length=16)
    command = "electrain pretrain electra_tiny --data data --out run"
    Record(run, str(data), digest, command, {"torch": "2.11"}, "a machine").save(folder)
    systems = []
    for step in steps:
        systems.append(shaken(config, vocab))
        checkpoint.save(folder, step, systems[-1], torch.optim.AdamW(systems[-1].parameters()), {})
    lines = [{"step": s, "kind": kind, "loss": s / 100, "rtd_auc": 0.8} for s in (20, 40) for kind in ("train", "eval")]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 60, "ki')
    return systems


def front_matter(readme: Path) -> tuple[dict, str]:
    _, front, text = readme.read_text().split("---\n", 2)
    return yaml.safe_load(front), text


def test_a_run_is_exported(tokenizer: Path, tmp_path: Path) -> None:
    run, out, said = tmp_path / "run", tmp_path / "out", []
    systems = a_run(run, tokenizer, ELECTRA, (20, 40, 60))
    (run / "checkpoints" / "best.json").write_text('{"checkpoint": "step-000020"}')
    (run / "checkpoints" / "step-000060" / "model.safetensors").write_bytes(b"damaged")

    def table(folder: Path) -> Tensor:
        return AutoModel.from_pretrained(folder).get_input_embeddings().weight

    assert export(run, out, warn=said.append) == out  # the last whole one
    assert torch.equal(table(out), systems[1].encoder.tokens.weight)
    assert len(said) == 1 and "step-000060" in said[0]
    assert type(AutoModelForPreTraining.from_pretrained(out)) is ElectraForPreTraining
    front, text = front_matter(out / "README.md")
    assert front["library_name"] == "transformers" and "electra" in front["tags"]
    assert "pipeline_tag" not in front and "license" not in front
    for fact in (
        "Step 40 of 100", "4 rows of 16 tokens", "electrain pretrain electra_tiny --data data --out run", "7 documents",
        "900 tokens", "my\\|corpus.txt | 7 | 4,321 | 2 |", "| 0.8000 |", "At step 40", "a machine; torch 2.11",
    ):  # fmt: skip
        assert fact in text, fact
    assert "somewhere" not in text

    export(run, out, part="generator", checkpoint="best", name="me/model")
    assert torch.equal(table(out), systems[0].encoder.tokens.weight)
    front, text = front_matter(out / "README.md")
    assert front["pipeline_tag"] == "fill-mask" and "Step 20 of 100" in text and "At step 20" in text
    assert 'pipeline("fill-mask", "me/model")' in text
    export(run, out, checkpoint=20)
    with pytest.raises(UserError, match="no checkpoint of step 30; it has: 20, 40, 60"):
        export(run, out, checkpoint=30)
    with pytest.raises(UserError, match="damaged"):
        export(run, out, checkpoint="60")
    with pytest.raises(UserError, match="choose best, latest, or"):
        export(run, out, checkpoint="last")
    with pytest.raises(UserError, match="electrain pretrain"):
        export(tmp_path / "nowhere", out)

    (tmp_path / "data" / "manifest.json").unlink()  # the data is gone, the run can still be exported
    export(run, out, checkpoint=20)
    assert "was not at hand" in front_matter(out / "README.md")[1]


@pytest.mark.parametrize("part", ["discriminator", "generator"])
def test_the_code_on_the_card_runs(
    part: Part, tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(tmp_path / "run", tokenizer, ELECTRA, (5,))
    out = export(tmp_path / "run", tmp_path / "out", part=part)
    code = (out / "README.md").read_text().split("```python\n")[1].split("```")[0].replace("FOLDER", str(out))
    exec(compile(code, "card", "exec"), {})
    assert ("tensor" if part == "discriminator" else "score") in capsys.readouterr().out


def test_push(tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the Hub's client is asked for; no network."""
    from huggingface_hub import HfApi, RepoUrl
    from huggingface_hub.errors import HfHubHTTPError

    vocab = vocab_of(load_tokenizer(tokenizer))
    out = tmp_path / "out"
    asked = []
    with pytest.raises(UserError, match="electrain export"):
        push(tokenizer, "me/model")
    with pytest.raises(UserError, match="--push-to-hub me/model"):  # offline here: one line, no trace
        to_transformers(shaken(ELECTRA, vocab), vocab, tokenizer, out, "discriminator", "")
        push(out, "me/model")

    def create(_: HfApi, repo_id: str, *, private: bool, exist_ok: bool) -> RepoUrl:
        asked.append((repo_id, private, exist_ok))
        return RepoUrl(f"https://huggingface.co/{repo_id}")

    def upload(_: HfApi, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        asked.append((repo_id, folder_path))

    monkeypatch.setattr(HfApi, "create_repo", create)
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    assert push(out, "me/model") == "https://huggingface.co/me/model"
    assert asked == [("me/model", True, True), ("me/model", out)]

    class Refused(HfHubHTTPError):
        def __init__(self) -> None:
            self.response = type("Response", (), {"status_code": 401})()

    def refuse(*_: object, **__: object) -> None:
        raise Refused

    monkeypatch.setattr(HfApi, "upload_folder", refuse)
    with pytest.raises(UserError, match=r"refused \(401\).*hf auth login"):
        push(out, "me/model")


# In


@pytest.fixture
def published(tmp_path: Path, tokenizer: Path) -> Callable[..., Path]:
    """Writes a folder of random weights with transformers alone, with the tokenizer."""

    def make(kind: type, name: str, *, words: bool = True, **changes: object) -> Path:
        sizes = dict(
            vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
            max_position_embeddings=24, initializer_range=0.3,
        )  # fmt: skip
        bert = kind.__name__.startswith("Bert")
        config = (
            BertConfig(**{**sizes, **changes}) if bert else ElectraConfig(**{**sizes, "embedding_size": 16, **changes})
        )
        kind(config).save_pretrained(tmp_path / name)
        if words:
            load_tokenizer(tokenizer).save_pretrained(tmp_path / name)
        return tmp_path / name

    return make


NARROW = {"hidden_size": 8, "num_attention_heads": 1, "intermediate_size": 12}


def same(model: Model, folder: Path, kind: type) -> None:
    words = AutoTokenizer.from_pretrained(folder.parent / "tokenizer")
    fed = dict(words(TEXTS, padding=True, return_tensors="pt"))
    real = fed["attention_mask"].bool()
    with torch.no_grad():
        theirs = kind.from_pretrained(folder).eval()(**fed).logits
        mine = ours(model, fed)[real]
        torch.testing.assert_close(mine, theirs[real][:, : len(WORDS)] if mine.ndim == 2 else theirs[real], **CLOSE)


def test_discriminator_and_generator_come_in(published: Callable[..., Path], tmp_path: Path, tokenizer: Path) -> None:
    discriminator = published(ElectraForPreTraining, "discriminator")
    generator = published(ElectraForMaskedLM, "generator", **NARROW)
    assert encoder_config_of(discriminator) == replace(SIZES, init_scale=0.3)
    assert generator_scale_of(encoder_config_of(discriminator), encoder_config_of(generator)) == (0.25, 1.0)
    vocab = vocab_of(load_tokenizer(tokenizer))

    # Only a discriminator was published: the generator shares its embeddings and is otherwise fresh.
    system = System(ELECTRA, vocab).eval()
    fresh = system.corruptor.generator.encoder.layers[0].up.weight.clone()
    said = load_into(system, discriminator, tokenizer=tokenizer)
    assert said.endswith("fresh: generator but for the shared embeddings, its MLM head")
    same(part_of(system, "discriminator"), discriminator, ElectraForPreTraining)
    assert torch.equal(system.corruptor.generator.encoder.layers[0].up.weight, fresh)
    assert system.corruptor.generator.encoder.tokens.weight is system.encoder.tokens.weight

    # Both, with embeddings of their own.
    system = System(replace(ELECTRA, corruptor=Joint.Config(tying="none")), vocab).eval()
    assert load_into(system, discriminator, generator).endswith("fresh: nothing")
    same(part_of(system, "discriminator"), discriminator, ElectraForPreTraining)
    same(part_of(system, "generator"), generator, ElectraForMaskedLM)

    # Both, shared: not these two, whose embeddings differ; and the system stays as it was.
    system = System(ELECTRA, vocab).eval()
    before = {name: value.clone() for name, value in system.state_dict().items()}
    with pytest.raises(UserError, match="tying none"):
        load_into(system, discriminator, generator)
    assert all(torch.equal(value, before[name]) for name, value in system.state_dict().items())

    # Out and in again, shared.
    shared = shaken(ELECTRA, vocab)
    for part in ("discriminator", "generator"):
        to_transformers(shared, vocab, tokenizer, tmp_path / f"shared-{part}", part, "")
    loaded = from_transformers(tmp_path / "shared-discriminator", tmp_path / "shared-generator")
    assert loaded.vocab == vocab and loaded.said.endswith("fresh: nothing")
    for name, value in shared.state_dict().items():
        assert torch.equal(loaded.system.state_dict()[name], value), name
    alone = from_transformers(discriminator)
    same(part_of(alone.system, "discriminator"), discriminator, ElectraForPreTraining)
    assert "fresh: generator but for the shared embeddings" in alone.said
    assert alone.system.corruptor.generator.encoder.config.hidden == 8


@pytest.mark.parametrize("kind", [BertForMaskedLM, BertForPreTraining, BertModel])
def test_a_bert_comes_in(kind: type, published: Callable[..., Path], tokenizer: Path) -> None:
    folder = published(kind, "bert", layer_norm_eps=1e-6)
    loaded = from_transformers(folder)
    assert isinstance(loaded.config.corruptor, Mask.Config) and isinstance(loaded.config.objective, Mlm.Config)
    loaded.system.eval()
    if kind is BertModel:  # published without a head
        assert loaded.said.endswith("fresh: its head but for the shared embeddings") or "fresh: its head" in loaded.said
    else:
        assert loaded.said.endswith("fresh: nothing")
        same(part_of(loaded.system, "bert"), folder, BertForMaskedLM)
    rtd = System(System.Config(loaded.config.encoder, Mask.Config(), Rtd.Config()), loaded.vocab).eval()
    assert load_into(rtd, folder, tokenizer=tokenizer).endswith("fresh: its head")
    fed = dict(AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt"))
    real = fed["attention_mask"].bool()
    with torch.no_grad():
        theirs = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()(**fed).last_hidden_state
        mine = rtd.encoder(fed["input_ids"], real, fed["token_type_ids"])
    torch.testing.assert_close(mine[real], theirs[real], **CLOSE)


def test_of_a_padded_table_the_first_rows_are_taken(published: Callable[..., Path], tokenizer: Path) -> None:
    made: dict[type, Path] = {}
    for kind, sizes in ((ElectraForPreTraining, {}), (ElectraForMaskedLM, NARROW), (BertForMaskedLM, {})):
        folder = published(kind, kind.__name__, vocab_size=64, **sizes)
        theirs = kind.from_pretrained(folder)
        with torch.no_grad():
            for parameter in theirs.parameters():  # biases start at zero, and one row of them would be like another
                parameter.add_(torch.randn_like(parameter) * 0.3)
        theirs.save_pretrained(folder)
        made[kind] = folder
    discriminator, generator, bert = made.values()
    vocab = vocab_of(load_tokenizer(tokenizer))
    system = System(replace(ELECTRA, corruptor=Joint.Config(tying="none")), vocab).eval()
    assert load_into(system, discriminator, generator, tokenizer=tokenizer).endswith("fresh: nothing")
    same(part_of(system, "discriminator"), discriminator, ElectraForPreTraining)
    same(part_of(system, "generator"), generator, ElectraForMaskedLM)
    same(part_of(from_transformers(bert).system.eval(), "bert"), bert, BertForMaskedLM)
    for kind in (ElectraForMaskedLM, BertForMaskedLM):
        network = frozen(str(made[kind]), tokenizer)
        assert isinstance(network, EncoderLm) and isinstance(network.encoder, Bert)
        same(Model(network.encoder, network.head), made[kind], kind)


def test_what_does_not_fit_is_refused(published: Callable[..., Path], tmp_path: Path, tokenizer: Path) -> None:
    vocab = vocab_of(load_tokenizer(tokenizer))
    system = System(ELECTRA, vocab)
    before = {name: value.clone() for name, value in system.state_dict().items()}
    cases = {
        r"hidden 64, not 32": published(ElectraForPreTraining, "wide", hidden_size=64),
        r"heads 2, not 4": published(ElectraForPreTraining, "heads", num_attention_heads=2),
        r"norm_eps 1e-05, not 1e-12": published(ElectraForPreTraining, "eps", layer_norm_eps=1e-5),
        r"positions 48, not 24": published(ElectraForPreTraining, "long", max_position_embeddings=48),
        rf"vocabulary of 19 tokens, the data's has {len(WORDS)}": published(
            ElectraForPreTraining, "few", vocab_size=len(WORDS) - 1
        ),
        # Longer than the vocabulary, and no tokenizer says that the rest is padding.
        r"vocabulary of 99 tokens": published(ElectraForPreTraining, "words", vocab_size=99, words=False),
        r"hidden_act is relu": published(ElectraForPreTraining, "relu", hidden_act="relu"),
        r"check the folder or the name": tmp_path / "nowhere",
    }
    for message, folder in cases.items():
        with pytest.raises(UserError, match=message):
            load_into(system, folder)
    RobertaConfig().save_pretrained(tmp_path / "roberta")
    with pytest.raises(UserError, match="is a roberta"):
        encoder_config_of(tmp_path / "roberta")

    folder = published(ElectraForPreTraining, "good")
    with pytest.raises(UserError, match="no generator that it could fill"):
        load_into(System(replace(ELECTRA, corruptor=Mask.Config()), vocab), folder, folder)
    cased = tmp_path / "cased"
    rules = {word: number for number, word in enumerate(WORDS)}
    BertTokenizerFast(vocab=rules, do_lower_case=False).save_pretrained(cased)
    with pytest.raises(UserError, match="other rules for cutting text; prepare the data with --tokenizer"):
        load_into(system, folder, tokenizer=cased)
    swapped = {**rules, "cat": rules["dog"], "dog": rules["cat"]}
    BertTokenizerFast(vocab=swapped).save_pretrained(cased)
    with pytest.raises(UserError, match="another vocabulary"):
        load_into(system, folder, tokenizer=cased)
    load_into(System(ELECTRA, vocab), published(ElectraForPreTraining, "no-words", words=False), tokenizer=tokenizer)

    # A pickle is not opened, whatever is in it; a cut file is named.
    (folder / "model.safetensors").rename(folder / "kept")
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(UserError, match="pickles are not opened"):
        load_into(system, folder)
    (folder / "model.safetensors").write_bytes((folder / "kept").read_bytes()[:-100])
    with pytest.raises(UserError, match="no weights could be read"):
        load_into(system, folder)
    assert all(torch.equal(value, before[name]) for name, value in system.state_dict().items())


def test_an_untied_output_table_is_refused(published: Callable[..., Path]) -> None:
    folder = published(BertForMaskedLM, "untied", tie_word_embeddings=False)
    with pytest.raises(UserError, match="output table is not its input table"):
        from_transformers(folder)


def test_lacking_weights_are_named(published: Callable[..., Path]) -> None:
    from safetensors.torch import load_file, save_file

    folder = published(ElectraForPreTraining, "lacking")
    weights = load_file(folder / "model.safetensors")
    for name, message in (("attention.self.key.weight", "damaged"), ("output.dense.weight", "lacks weights")):
        some = {k: v for k, v in weights.items() if not k.endswith(f"layer.1.{name}")}
        assert len(some) == len(weights) - 1
        save_file(some, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(UserError, match=message):
            from_transformers(folder)


def test_going_on_from_an_export_changes_nothing(tokenizer: Path, tmp_path: Path) -> None:
    """Loss of the very same batch before export and after import."""
    from electrain.batch import Batch
    from electrain.randomness import row_keys

    vocab = vocab_of(load_tokenizer(tokenizer))
    system = shaken(ELECTRA, vocab)
    for part in ("discriminator", "generator"):
        to_transformers(system, vocab, tokenizer, tmp_path / part, part, "")
    again = System(ELECTRA, vocab).eval()
    load_into(again, tmp_path / "discriminator", tmp_path / "generator", tokenizer=tokenizer)
    ids = torch.randint(5, vocab.size, (3, 20))
    everything = torch.ones_like(ids, dtype=torch.bool)
    batch = Batch(ids, torch.zeros_like(ids), everything, everything, row_keys(0, 0, torch.arange(3)))
    with torch.no_grad():
        losses = [made(batch, torch.zeros(())).loss for made in (system, again)]
    assert torch.equal(*losses) and math.isfinite(losses[0])
