"""The page in a real browser: what a person types, clicks and moves, and what is shown then."""

import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from electrain.corruptors.joint import Joint
from electrain.curriculum import Schedule
from electrain.hub.opened import opened
from electrain.inspect.line import Reader
from electrain.inspect.verdict import verdict
from electrain.optim.adam import Adam
from electrain.train import pretrain
from tests.cache.conftest import with_tokenizer
from tests.training import ELECTRA, tiny

ROOT = Path(__file__).resolve().parent.parent.parent
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LACKING = [name for name in ("gradio", "playwright") if find_spec(name) is None] + ["chromium"] * (BROWSER is None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(LACKING), reason=f"{', '.join(LACKING)} missing; make test-browser says what to install"),
]
PATIENCE = 180_000  # milliseconds: on a busy machine nothing may fail for being slow
TEXT = "w10 w11 w12 w90 w14 w15"


class Server:
    """`electrain inspect` in a process of its own."""

    def __init__(self, *words: str):
        command = [sys.executable, "-m", "electrain", "inspect", *words]
        self.running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert self.running.stderr is not None
        self.said = []
        for line in self.running.stderr:
            self.said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                self.address = found[0]
                return
        raise AssertionError("".join(self.said))

    def stop(self) -> str:
        self.running.send_signal(signal.SIGINT)
        assert self.running.stderr is not None
        rest = self.running.stderr.read()
        assert self.running.wait(60) == 0, rest
        return rest


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two checkpoints and a falling temperature, beside its data."""
    folder = tmp_path_factory.mktemp("inspect")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    corruptor = Joint.Config(width=0.5, temperature=Schedule("linear", start=2.5, end=1.0))
    settings = tiny(replace(ELECTRA, corruptor=corruptor), 20, optim=Adam(lr=5e-3, warmup=5))
    pretrain(settings, with_tokenizer(folder / "data"), folder / "run")
    torch.set_num_threads(threads)
    return folder / "run"


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Server]:
    made = Server("--model", str(run), "--port", "7899")
    yield made
    if made.running.poll() is None:
        made.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as made:
        chromium = made.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        context = chromium.new_context()
        context.set_default_timeout(PATIENCE)
        yield context
        chromium.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """The page, its example shown; at the end it has asked nobody else for anything, and no script has failed."""
    made = browser.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    made.on("request", lambda request: asked.append(request.url))
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
    made.goto(server.address)
    made.wait_for_selector("#damage .el")
    yield made
    made.close()
    others = [url for url in asked if not url.startswith((f"{server.address}/", "data:", "blob:"))]
    assert len(asked) > 5 and not others and not wrong


def look(page: Any, text: str, wanted: str) -> str:
    """Types a text, presses the button, and returns what is shown when `wanted` is among it."""
    page.fill("#text textarea", text)
    page.click("#look")
    page.wait_for_function("wanted => document.querySelector('#plain').innerText.includes(wanted)", arg=wanted)
    return page.inner_text("#plain")


def titles(page: Any, where: str) -> list[str]:
    """What is said to who points at the tokens."""
    return [item.get_attribute("title") for item in page.query_selector_all(f"{where} .el[dir] b")]


def test_the_numbers_on_the_page(page: Any, run: Path) -> None:
    assert "Examples: held-out text" in page.inner_text("body")
    look(page, TEXT, "w90")
    model = opened(run)
    made = verdict(model, Reader(model.tokenizer).read(TEXT))
    assert made is not None
    wanted = [f"{word}: replaced? {100 * value:.2f} %" for word, value in zip(TEXT.split(), made.values, strict=True)]
    assert titles(page, "#plain") == wanted
    page.check("#numbers input")
    page.wait_for_selector("#plain sub")
    under = [item.inner_text() for item in page.query_selector_all("#plain sub")]
    assert under == [f"{100 * value:.0f}" for value in made.values]


def test_the_temperature(page: Any) -> None:
    def sampled() -> list[str]:
        return [item.inner_text() for item in page.query_selector_all("#damage .el[dir]")][2:3]

    def set_to(where: str, value: str) -> None:
        before = page.inner_html("#damage")
        page.fill(f"{where} input[type=number]", value)
        page.press(f"{where} input[type=number]", "Enter")
        page.wait_for_function("before => document.querySelector('#damage').innerHTML != before", arg=before)

    look(page, " ".join(f"w{number}" for number in range(10, 40)), "w39")
    set_to("#rate", "0.5")
    page.wait_for_function("document.querySelector('#damage').innerText.includes('15 of 30 tokens selected')")
    set_to("#temperature", "0")
    cold = sampled()
    set_to("#temperature", "3")
    hot = sampled()
    assert cold != hot
    set_to("#temperature", "0")
    assert sampled() == cold
    set_to("#seed", "5")
    assert sampled() != cold
    # A tenth of the training: 2.5 falls to 2.35.
    page.fill("#done input[type=number]", "10")
    page.press("#done input[type=number]", "Enter")
    page.wait_for_function("document.querySelector('#temperature input[type=number]').value == '2.35'")


def test_two_checkpoints(page: Any) -> None:
    look(page, TEXT, "w90")
    page.click("#side1 input")
    page.click("#side1 [role=option] >> text=10")
    page.wait_for_function("document.querySelectorAll('#plain section').length == 2")
    shown = page.inner_text("#plain")
    assert "step 20" in shown and "step 10" in shown
    numbers = titles(page, "#plain")
    assert len(numbers) == 12 and numbers[:6] != numbers[6:]
    page.wait_for_function("document.querySelectorAll('#damage section').length == 2")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "No text"),
        ("w10 👩‍👩‍👧 w11", "👩‍👩‍👧"),
        ("w10 кот 猫 w11", "unknown to the tokenizer: 2 of 4 tokens"),
        ("<img src=x onerror=alert(1)> ${alert(1)} {{value}} w10", "<img src=x onerror=alert(1)>"),
        ("w10 w11 " * 20, "overlapping windows"),
    ],
)
def test_strange_texts(page: Any, text: str, wanted: str) -> None:
    assert wanted in look(page, text, wanted).replace("▲", "")
    assert page.query_selector("#plain img") is None


def test_another_example(page: Any) -> None:
    before = page.input_value("#text textarea")
    page.click("#example")
    page.wait_for_function("before => document.querySelector('#text textarea').value != before", arg=before)
    first = page.input_value("#text textarea").split()[0]
    page.wait_for_function("word => document.querySelector('#plain').innerText.includes(word)", arg=first)


def test_a_phone(browser: Any, server: Server) -> None:
    made = browser.new_page()
    made.set_viewport_size({"width": 360, "height": 740})
    made.goto(server.address)
    made.wait_for_selector("#damage .el")
    assert made.evaluate("document.documentElement.scrollWidth") <= 360
    made.close()


def test_other_hosts_and_the_end(run: Path, server: Server, generator: str, discriminator: str, browser: Any) -> None:
    for header in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(f"{server.address}/config", headers=header), timeout=30)
        assert refused.value.code == 403
    second = Server("--model", discriminator, "--model", str(run), "--generator", generator, "--port", "7899")
    assert any("port 7899 is busy" in line for line in second.said) and second.address != server.address
    made = browser.new_page()
    made.goto(second.address)
    made.wait_for_function("document.querySelectorAll('#damage section').length == 2")
    assert "No text" in look(made, " ", "No text")
    shown = look(made, "the cat w10", "w10")
    assert discriminator in shown and "step 20" in shown
    made.close()
    assert second.stop().endswith("inspect: stopped\n")
    assert server.stop() == "inspect: stopped\n"
