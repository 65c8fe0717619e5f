"""`electrain similarity`: vectors against transformers' own, figures against NumPy, and what is read and refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, ModernBertConfig, ModernBertForMaskedLM

from electrain.cli import main
from electrain.zeroshot.similarity import figures
from electrain.zeroshot.vectors import cosines
from tests.zeroshot.conftest import POSITIONS, WORDS, saved

PAIRS = [
    ("the cat sat on the mat .", "a dog ran to the house", 1.5),
    ("the moon", "the moon", 5.0),
    ("who walks ?", "the walker , unbelievable", 2.25),
    ("a cat", "the cat and the dog and the moon sat on a mat and ran to a house , who walks to the mat", 0.5),
    ("houses", "house", 4.0),
]  # fmt: skip


def table(path: Path, rows: list[tuple] = PAIRS) -> Path:  # type: ignore[type-arg]
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["index\tsentence1\tsentence2\tscore", *("\t".join(map(str, (at, *row))) for at, row in enumerate(rows))]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def modern(tmp_path: Path) -> str:
    sizes = ModernBertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=POSITIONS, local_attention=4, global_attn_every_n_layers=2, pad_token_id=0,
        cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    return saved(ModernBertForMaskedLM(sizes), tmp_path / "modern")


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Of numbers of which no two are equal."""
    ranks = [np.argsort(np.argsort(x)).astype(float) for x in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


@pytest.mark.parametrize("kind", ["discriminator", "bert", "modern"])
def test_it_is_what_transformers_vectors_give(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """One text at a time, without padding; the fourth pair's second text is longer than the model reads."""
    model = request.getfixturevalue(kind)
    data = table(tmp_path / "glue" / "STS-B" / "dev.tsv")
    main(["similarity", "--model", model, "--data", str(data.parent.parent), "--out", str(tmp_path / "out")])
    said = capsys.readouterr()
    theirs, tokenizer = AutoModel.from_pretrained(model).eval(), AutoTokenizer.from_pretrained(model)
    made: dict[str, list[np.ndarray]] = {"mean": [], "cls": []}
    for pair in PAIRS:
        for text in pair[:2]:
            words = tokenizer(
                text, return_tensors="pt", truncation=True, max_length=POSITIONS, return_token_type_ids=False
            )
            with torch.no_grad():
                hidden = theirs(**words).last_hidden_state[0].double().numpy()
            made["mean"].append(hidden.mean(0))
            made["cls"].append(hidden[0])
    found = json.loads((tmp_path / "out" / "similarity.json").read_text())
    assert (found["pairs"], found["cut"], found["step"]) == (5, 1, None)
    for name, vectors in made.items():
        both = zip(vectors[::2], vectors[1::2], strict=True)
        cosine = np.array([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in both])
        gold = np.array([pair[2] for pair in PAIRS])
        assert found[name]["pearson"]["value"] == pytest.approx(np.corrcoef(cosine, gold)[0, 1], abs=1e-5)
        assert found[name]["spearman"]["value"] == pytest.approx(spearman(cosine, gold), abs=1e-12)
        assert f"{found[name]['spearman']['value']:.4f}" in said.out
    assert f"written: {tmp_path / 'out' / 'similarity.json'}" in said.out
    assert "5 pairs of" in said.err and "1 cut to 18 tokens" in said.err and "9 texts in" in said.err


def test_the_interval_narrows_and_holds_the_truth() -> None:
    random = np.random.default_rng(1)
    gold = random.normal(size=4000)
    said = 0.6 * gold + 0.8 * random.normal(size=4000)  # a correlation of 0.6; of ranks 6/pi asin(0.3) = 0.582
    whole, some = figures(said, gold, 200), figures(said[:100], gold[:100], 200)
    for name, truth in (("pearson", 0.6), ("spearman", 0.582)):
        assert whole[name].low < truth < whole[name].high and whole[name].low < whole[name].value < whole[name].high
        # By the delta method a deviation of (1 - r^2) / sqrt(n), and 3.92 of them from end to end; 0.04 at n = 4000.
        assert whole[name].high - whole[name].low == pytest.approx(3.92 * (1 - truth**2) / 4000**0.5, rel=0.35)
        assert some[name].high - some[name].low > 3 * (whole[name].high - whole[name].low)


def test_cosines_by_hand() -> None:
    a, b = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]]), np.array([[4.0, 3.0], [0.0, 2.0], [1.0, 1.0]])
    np.testing.assert_allclose(cosines(a, b), [24 / 25, 0, 0], atol=1e-15)


def test_what_cannot_be_read_is_one_line(bert: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    flat = table(tmp_path / "flat.tsv", [("a cat", "a dog", 1.0), ("the moon", "a mat", 1.0)])
    odd = table(tmp_path / "odd.tsv", [("a cat", "a dog", 1.0), ("the moon", "a mat", "much")])
    (tmp_path / "train").mkdir()
    table(tmp_path / "train" / "train.tsv")
    for words, why in (
        ([str(tmp_path / "none.tsv")], "no such file or folder; check --data"),
        ([str(flat)], "all 2 scores are the same"),
        ([str(odd)], "row 2 (line 3): 'score' holds 'much', not a number"),
        ([str(tmp_path / "train")], "no dev split; there are: train.tsv"),
        ([str(flat), "--text", "sentence1"], "name both texts, --text and --second"),
        ([str(flat), "--resamples", "5"], "choose 100 or more"),
    ):
        with pytest.raises(SystemExit) as left:
            main(["similarity", "--model", bert, "--out", str(tmp_path / "out"), "--data", *words])
        said = capsys.readouterr()
        assert left.value.code == 2 and why in said.err and said.err.count("\n") == 1, said.err
    with pytest.raises(SystemExit):
        main(["similarity", "--model", bert, "--data", str(flat)])
    assert "name a folder with --out" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
