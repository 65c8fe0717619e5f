"""A report of runs: what is in the page, what of damaged input, and that no text becomes markup."""

import json
import math
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from electrain.report import lines, thin
from electrain.report.build import controls, html, report
from electrain.report.history import histories
from electrain.report.settings import Report
from electrain.report.styles import COLOURS, style
from electrain.run import Record
from electrain.train import pretrain
from tests.commands import give
from tests.training import BERT, ELECTRA, make_data, one_thread, tiny  # noqa: F401 - a fixture

WORDS = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, **{f"w{i}": i for i in range(5, 199)}}
WORDS["<script>alert(1)</script>"] = 199


class Seen(HTMLParser):
    """The elements of a page, and the text of some of them."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.within = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.within = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.within = ""

    def handle_data(self, data: str) -> None:
        if self.within == "script":
            self.scripts[-1] += data
        elif self.within != "style":
            self.text.append(data)

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script draws."""
        return json.loads(self.scripts[0])

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of ELECTRA and a BERT, with the tokenizer that the report is to read."""
    folder = tmp_path_factory.mktemp("report")
    data = make_data(folder / "data")
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 9,
    }
    tokenizer = {"version": "1.0", "added_tokens": [], "model": {**model, "vocab": WORDS}}
    tokenizer |= dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    (data / "tokenizer" / "tokenizer.json").write_text(json.dumps(tokenizer))
    often = {"steps": 40, "eval_every": 10}
    for name, run in {
        "one": tiny(ELECTRA, **often),
        "two": tiny(ELECTRA, seed=1, **often),
        "bert": tiny(BERT, **often),
    }.items():
        pretrain(run, data, folder / name, f"electrain pretrain tiny --out {name}")
    return folder


def test_many_runs_are_hidden_and_shown_at_once(runs: Path) -> None:
    """A box for all of them, where there are more than colours."""
    known = histories((runs / "one",))
    for count in (len(COLOURS), len(COLOURS) + 1):
        boxes = [attrs["name"] for name, attrs in Seen(controls(known * count)).tags if name == "input"]
        assert boxes.count("run") == count and boxes.count("all") == (count > len(COLOURS))


@pytest.fixture
def copy(runs: Path, tmp_path: Path) -> Path:
    """A run that a test may damage."""
    return Path(shutil.copytree(runs / "one", tmp_path / "one"))


def seen(*folders: Path, **how: Any) -> Seen:
    chosen = Report(folders, out=Path("page.html"), **how)
    return Seen(html(histories(chosen.runs), chosen, on=False))


def test_the_page_holds_what_the_logs_hold(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "pages" / "page.html"
    assert report(Report((runs / "one", runs / "two", runs / "bert"), out)) == out
    page = Seen(out.read_text())
    assert [run["name"] for run in page.data["runs"]] == ["one", "two", "bert"]
    for run, name in zip(page.data["runs"], ("one", "two", "bert"), strict=True):
        log = [json.loads(line) for line in (runs / name / "metrics.jsonl").read_text().splitlines()]
        for kind in ("train", "eval"):
            there = [line for line in log if line["kind"] == kind]
            steps, values = run[kind]["loss"]
            assert steps == [line["step"] for line in there]
            assert values == pytest.approx([line["loss"] for line in there], rel=1e-5)
    record = Record.load(runs / "two")
    for words in (
        record.command,
        record.machine,
        "torch 2",
        "WordPiece, 200 tokens",
        record.data_sha256[:12],
        "finished",
    ):
        assert words in page.words
    # 40 steps of 8 rows of 16 tokens, at the operations that flops.py counts
    one = page.data["runs"][0]
    assert one["tokens"] == [0, 128] and one["grown"] is None and one["operations"][1] > 1e6
    assert "5,120" in page.words
    # Everything that was measured is drawn, and nothing else: no temperature here, no discriminator in BERT alone.
    drawn = {plot["lines"][0]["metric"] for plot in page.data["panels"]}
    assert {"loss", "mlm_accuracy", "rtd_auc", "replaced", "lr", "grad_norm", "memory", "data_wait"} <= drawn
    alone = {plot["lines"][0]["metric"] for plot in seen(runs / "bert").data["panels"]}
    assert {"loss", "mlm_accuracy", "lr"} <= alone and not alone & {"rtd_auc", "replaced", "temperature"}
    assert len([tag for tag, _ in page.tags if tag == "figure"]) == len(page.data["panels"])


def test_nothing_in_the_page_asks_a_network(runs: Path) -> None:
    page = seen(runs / "one")
    named = [
        value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href", "action")
    ]
    assert named == []
    policy = next(a["content"] or "" for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and policy.count("'sha256-") == 2
    assert "unsafe-inline" not in policy.split(";")[1] and "http" not in policy


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a&b \"c\" 'd'", "</script><img src=x onerror=alert(1)>"]
)
def test_a_name_stays_text(name: str, runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / name.replace("/", "∕")
    shutil.copytree(runs / "one", folder)
    tree = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**tree, "machine": name, "command": name}))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 41, "kind": "train", name: 1.5}) + "\n")
    page, plain = seen(folder), seen(runs / "one")
    assert [tag for tag, _ in page.tags if tag in ("script", "img")] == ["script"] * 3
    # as machine, command and the title of a plot; and the folder's as title, head, in the table and on the card
    assert page.words.count(name) >= 3 and page.words.count(folder.name) >= 4
    assert page.data["runs"][0]["name"] == folder.name
    assert page.scripts[1:] == plain.scripts[1:]


def test_hours_and_operations_begin_where_the_stage_before_ended(runs: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(runs / "one", tmp_path / "late"))
    shutil.copytree(runs / "bert", folder / "first")
    tree = json.loads((folder / "run.json").read_text())
    tree["run"]["first"] = json.loads((folder / "first" / "run.json").read_text())["run"]
    (folder / "run.json").write_text(json.dumps(tree))
    first, late = seen(folder).data["runs"]
    assert [first["name"], late["name"]] == ["late, first stage", "late"]
    assert first["tokens"] == [0, 128] and late["tokens"] == [40 * 128, 128]
    assert late["operations"][0] == pytest.approx(40 * first["operations"][1])
    log = [json.loads(line) for line in (runs / "bert" / "metrics.jsonl").read_text().splitlines()]
    train = [line for line in log if line["kind"] == "train"]
    spent = sum((b["step"] - a) * 128 / b["tokens_per_second"] for a, b in
                zip([0, *(line["step"] for line in train)], train, strict=False))  # fmt: skip
    assert late["hours"][0] == pytest.approx(spent / 3600, rel=1e-6)


def test_a_log_that_is_damaged_is_shown_as_far_as_it_goes(copy: Path) -> None:
    path = copy / "metrics.jsonl"
    good = path.read_text().splitlines()
    strange = ['{"step": 41, "kind": "train", "loss": NaN, "lr": null}', "not json", "[1]", '{"kind": "train"}', "\x00"]
    skipped = '{"step": 20, "kind": "skip", "why": "<b>the loss</b> is not finite"}'
    path.write_text("\n".join([*good, skipped, *strange]) + '\n{"step": 42, "ki')
    page = seen(copy)
    assert "4 damaged line(s)" in page.words and "step 20: <b>the loss</b> is not finite" in page.words
    assert page.data["runs"][0]["train"]["loss"][1][-1] is None and page.data["runs"][0]["bad"] == [20]
    path.write_bytes(b"\xff\xfe\x00" * 100)
    assert "There is nothing to draw yet" in seen(copy).words
    path.unlink()
    assert "no line yet" in seen(copy).words


def test_a_run_of_one_step_and_one_of_another_version(copy: Path) -> None:
    (copy / "metrics.jsonl").write_text('{"step": 1, "kind": "train", "loss": 2.0, "of_tomorrow": 3}\n')
    tree = json.loads((copy / "run.json").read_text())
    tree["run"] |= {"of_tomorrow": 1, "steps": 1}
    (copy / "run.json").write_text(json.dumps(tree))
    page = seen(copy)
    assert page.data["runs"][0]["train"]["loss"] == [[1], [2]]
    assert "unknown fields of_tomorrow" in page.words and "1 of 1" in page.words
    assert page.data["runs"][0]["operations"] is None
    radio = [a for t, a in page.tags if t == "input" and a.get("value") == "operations"]
    assert len(radio) == 1 and "disabled" in radio[0]


def test_what_is_no_run_is_named_in_one_line(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.html").write_text("mine")
    page = tmp_path / "page.html"
    (copy / "run.json").write_text("{")
    for words, said in (
        ((tmp_path / "empty", "--out", page), "holds no run.json"),
        ((tmp_path / "nowhere", "--out", page), "there is no such folder"),
        ((tmp_path / "other.html", "--out", page), "a file, not the folder of a run"),
        ((copy, "--out", page), "run.json: not a run of electrain"),
        ((copy, "--out", tmp_path), "is a folder; name a file in it"),
        ((copy, "--out", tmp_path / "other.html"), "there is another file of this name"),
        ((copy, copy), "say where the page goes with --out"),
        ((copy, "--every", "0", "--watch"), "every is 0.0; choose 1 second or more"),
    ):
        left = give(capsys, "report", *words)
        assert left.code == 2 and said in left.said and len(left.said.splitlines()) == 1, left
    assert not page.exists() and (tmp_path / "other.html").read_text() == "mine"


def test_thinning_keeps_every_spike_and_gap() -> None:
    values = np.sin(np.arange(300_000) / 9e3)
    values[123_456], values[222_222] = 99.0, -99.0
    values[50_000:60_000] = np.nan
    kept = thin.thinned(values)
    assert len(kept) <= thin.MOST + 2 and (np.diff(kept) > 0).all() and kept[0] == 0 and kept[-1] == 299_999
    assert {123_456, 222_222} <= set(kept.tolist())
    inside = kept[(kept > 50_700) & (kept < 59_300)]
    assert len(inside) > 10 and np.isnan(values[inside]).all()
    assert thin.thinned(values[:1000]).tolist() == list(range(1000))


def test_a_long_log_is_thinned_and_the_page_says_so(copy: Path) -> None:
    line = '{{"step": {}, "kind": "train", "loss": {}, "tokens_per_second": 1280}}\n'
    with (copy / "metrics.jsonl").open("w") as file:
        file.writelines(line.format(step, 2 + math.sin(step)) for step in range(1, 20_001))
    page = seen(copy)
    assert len(page.data["runs"][0]["train"]["loss"][0]) <= thin.MOST + 2
    assert "20,000 lines of a kind" in page.words
    steps, hours = page.data["runs"][0]["hours"][1:]
    assert hours[-1] == pytest.approx(20_000 * 128 / 1280 / 3600) and steps[-1] == 20_000


def test_a_log_that_grows_is_read_on_and_one_that_is_written_anew_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "kind": "train", "loss": 1}\n{"step": 2, "kind": "tr')
    first = lines.read(tmp_path)
    assert first.train.series("loss")[1].tolist() == [1] and first.damaged == 0
    with path.open("a") as file:
        file.write('ain", "loss": 2, "more": 5}\n')
    again = lines.read(tmp_path, first)
    assert again is first and again.train.series("loss")[1].tolist() == [1, 2]
    assert np.isnan(again.train.series("more")[1][0]) and again.train.last("more") == 5
    beside = tmp_path / "beside"
    beside.write_text('{"step": 1, "kind": "train", "loss": 3}\n' * 9)
    beside.replace(path)
    anew = lines.read(tmp_path, again)
    assert anew.train.series("loss")[1].tolist() == [3] and anew.damaged == 8


def test_lines_that_go_back_are_left_out(tmp_path: Path) -> None:
    texts = [json.dumps({"step": step, "kind": "train", "loss": step}) for step in (1, 2, 2, 1, 3)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(texts) + "\n")
    found = lines.read(tmp_path)
    assert found.train.series("loss")[1].tolist() == [1, 2, 3] and found.damaged == 2


def test_styles_all_differ_and_stand_out() -> None:
    assert len({style(number) for number in range(35)}) == 35

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    sheet = (Path(thin.__file__).parent / "page.css").read_text()
    pages = re.findall(r"--page: (#[0-9a-f]{6})", sheet)
    assert len(pages) == 2
    for page in pages:
        for colour in COLOURS:
            above, below = sorted((light(page), light(colour)), reverse=True)
            assert (above + 0.05) / (below + 0.05) >= 3, (page, colour)


def test_watching_ends_when_the_run_has_ended(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = copy / "metrics.jsonl"
    texts = log.read_text().splitlines(keepends=True)
    log.write_text("")
    pages: list[str] = []

    def later(seconds: float) -> None:
        assert seconds == 7 and len(pages) < 9
        pages.append((copy / "report.html").read_text())
        log.write_text("".join(texts[: 4 * len(pages)]))
        (copy / ".lock").touch()

    monkeypatch.setattr("electrain.report.build.time.sleep", later)
    monkeypatch.setattr("electrain.report.history.holder", lambda folder: "somebody")
    report(Report((copy,), watch=True, every=7.0))
    reloads = [Seen(page).data["reload"] for page in [*pages, (copy / "report.html").read_text()]]
    assert len(reloads) > 2 and set(reloads[:-1]) == {7} and reloads[-1] == 0


def test_a_run_that_stands_still_is_not_watched_for_ever(copy: Path) -> None:
    tree = json.loads((copy / "run.json").read_text())
    tree["run"]["steps"] = 50
    (copy / "run.json").write_text(json.dumps(tree))
    report(Report((copy,), watch=True))
    assert "stopped" in Seen((copy / "report.html").read_text()).words


def test_what_differs_from_the_recipe_is_named(runs: Path, copy: Path) -> None:
    from electrain.recipes.tiny import electra_tiny

    run = replace(electra_tiny(), batch=8, seed=3)
    record = replace(Record.load(copy), run=run)
    record.save(copy)
    page = seen(copy)
    assert "What differs from the recipe setting the recipe's here batch 32 8 seed 0 3" in page.words
