"""Held-out sentences in a page, and where they come from: the forward pass of an evaluation."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from electrain import samples
from electrain.data.loader import Loader
from electrain.data.shards import Shards
from electrain.report.sentences import looks, moments
from electrain.run import Record
from electrain.system import System
from electrain.systems.early_exit import EarlyExit
from tests.report.test_report import WORDS, Seen, copy, runs, seen  # noqa: F401 - fixtures
from tests.training import BERT, ELECTRA, ENCODER, VOCAB, one_thread  # noqa: F401 - a fixture


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / samples.FILE).read_text().splitlines()]


def first_batch(runs: Path) -> Any:  # noqa: F811
    run = Record.load(runs / "one").run
    shards = Shards.open(runs / "data", "validation")
    return Loader(run.packing.build(shards, run.length), VOCAB, batch=8, seed=0).step(0)[0]


@pytest.mark.parametrize("name", ["one", "bert"])
def test_the_same_rows_and_places_are_kept_every_time(name: str, runs: Path) -> None:  # noqa: F811
    lines = rows(runs / name)
    assert [line["step"] for line in lines] == [10, 20, 30, 40]
    batch = first_batch(runs)
    for line in lines:
        assert [row["text"] for row in line["rows"]] == [
            ids[real].tolist() for ids, real in zip(batch.ids[:4], batch.real, strict=False)
        ]
        assert [row["picked"] for row in line["rows"]] == [row["picked"] for row in lines[0]["rows"]]
    for row in lines[-1]["rows"]:
        changed = [place for place, (a, b) in enumerate(zip(row["text"], row["read"], strict=True)) if a != b]
        assert set(changed) <= set(row["picked"]) and row["picked"]
        assert (row["suspicion"] is None) == (name == "bert") != (row["guess"] is None)


@pytest.mark.parametrize(
    "config",
    [ELECTRA, BERT, EarlyExit.Config(replace(ENCODER, layers=2), exits=(1, 2), every=2, measured=1)],
    ids=["electra", "bert", "early-exit"],
)
def test_what_is_kept_is_what_the_system_computes(config: System.Config, runs: Path) -> None:  # noqa: F811
    torch.manual_seed(0)
    system, batch, now = config.build(VOCAB).eval(), first_batch(runs), torch.ones(())
    with torch.no_grad(), samples.looking(system) as kept:
        loss = system(batch, now).loss
        system(batch.map(lambda tensor: tensor.flip(0)), now)  # the first pass alone counts
        assert system(batch, now).loss == loss
    assert not any(module._forward_hooks for module in system.modules())
    with torch.no_grad():
        read = system.corruptor(batch, system.encoder, now)
        hidden = system.encoder(read.ids, batch.real, batch.segments)
        for number, row in enumerate(kept):
            size = len(row["text"])
            assert row["read"] == read.ids[number, :size].tolist()
            if config is BERT:
                places = torch.tensor(row["picked"])
                logits = system.objective.head(hidden[number, places], system.encoder.tokens.weight)
                assert row["guess"] == logits.argmax(-1).tolist()
            else:
                expected = torch.sigmoid(system.objective.head(hidden)[number, :size])
                assert row["suspicion"] == pytest.approx(expected.tolist(), abs=6e-4)


def test_three_moments_are_shown_and_every_token_with_its_number(runs: Path) -> None:  # noqa: F811
    page = seen(runs / "one")
    steps = [f"step {line['step']:,}" for line in moments(looks(runs / "one"))]
    assert steps == ["step 10", "step 20", "step 40"]
    tokens = [
        attributes for tag, attributes in page.tags if tag == "span" and "tok" in (attributes["class"] or "").split()
    ]
    shown = [line for line in rows(runs / "one") if line["step"] in (10, 20, 40)]
    named = [found for found in tokens if found.get("title")]
    assert len(named) == sum(len(row["text"]) for line in shown for row in line["rows"])
    swapped = sum(
        a != b for line in shown for row in line["rows"] for a, b in zip(row["text"], row["read"], strict=True)
    )
    assert len([found for found in named if "swap" in (found["class"] or "").split()]) == swapped > 0
    assert len([tag for tag, _ in page.tags if tag == "rt"]) == swapped
    share = shown[0]["rows"][0]["suspicion"][0]
    assert f"[CLS]: replaced with {share:.1%}" in (named[0]["title"] or "")


def test_a_masked_language_model_shows_what_it_put_there(runs: Path) -> None:  # noqa: F811
    page = seen(runs / "bert")
    shown = [line for line in rows(runs / "bert") if line["step"] in (10, 20, 40)]
    guesses = [
        (row["text"][place], guess)
        for line in shown
        for row in line["rows"]
        for place, guess in zip(row["picked"], row["guess"], strict=True)
    ]
    classes = [(attributes.get("class") or "").split() for tag, attributes in page.tags if tag == "span"]
    assert sum("right" in found for found in classes) == sum(text == guess for text, guess in guesses)
    assert sum("wrong" in found for found in classes) == sum(text != guess for text, guess in guesses) > 0


def test_a_token_that_looks_like_html_stays_text(copy: Path) -> None:  # noqa: F811
    line = rows(copy)[0]
    line["rows"][0]["read"][1] = WORDS["<script>alert(1)</script>"]
    (copy / samples.FILE).write_text(json.dumps(line))
    page = seen(copy)
    assert "<script>alert(1)</script>" in page.words and len(page.scripts) == 3


def test_lines_that_do_not_fit_are_left_out(copy: Path) -> None:  # noqa: F811
    good = rows(copy)[1]
    texts = []
    for field, value in (("text", [1]), ("picked", [99]), ("suspicion", [2.0]), ("read", "abc"), ("guess", [1])):
        bad = {**good, "rows": [{**good["rows"][0], field: value}]}
        texts.append(json.dumps(bad))
    texts += ["{", "[]", '{"step": 1}', '{"step": 1, "rows": []}', json.dumps(good), json.dumps(good)[:-9]]
    (copy / samples.FILE).write_text("\n".join(texts))
    assert looks(copy) == [good]
    (copy / samples.FILE).unlink()
    assert looks(copy) == [] and "Held-out sentences" not in Seen("".join(seen(copy).text)).words
