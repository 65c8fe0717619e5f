"""The page: gradio's parts put together; all that is computed is computed in `views`."""

import contextlib
import importlib
import os
from collections.abc import Callable
from typing import Any

import torch

from electrain.errors import UserError
from electrain.inspect import render, views
from electrain.inspect.corrupt import How
from electrain.inspect.examples import examples
from electrain.inspect.options import Inspect
from electrain.inspect.serve import HOST, App, bound, guarded
from electrain.inspect.shelf import Choice, Shelf, sides, steps_of
from electrain.tracking import say

NOBODY = "nothing"
BY = ("the first's generator", "the second's generator", "each its own")
MAX_TEXT = 100_000  # characters that the page takes


def inspect(how: Inspect) -> None:
    """Serve the page until Ctrl-C. UserError where gradio or a model is missing."""
    gradio = _gradio()
    chosen, shelf = sides(how.model, how.checkpoint), Shelf(how.generator)
    for choice in chosen:
        shelf.take(choice)  # what is wrong with a model is said here, and not on the page
    listening = bound(how.port)
    port = listening.getsockname()[1]
    if port != how.port:
        say(f"port {how.port} is busy; taking {port}")
    app = application(gradio, chosen, shelf)
    say(f"inspect: http://{HOST}:{port}   (Ctrl-C stops it)")
    import uvicorn  # pyright: ignore[reportMissingImports]

    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1))
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again when it has ended
        server.run(sockets=[listening])
    say("inspect: stopped")


def _gradio() -> Any:
    # Before the import: the module reads them then.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        return importlib.import_module("gradio")
    except ImportError as error:
        raise UserError(f"inspect: {error.name} is not installed; pip install 'electrain[demo]'") from error


def application(gradio: Any, chosen: list[Choice], shelf: Shelf) -> App:
    """The page as an ASGI application that answers this machine only."""
    from fastapi import FastAPI  # pyright: ignore[reportMissingImports]

    blocks = _Page(gradio, chosen, shelf).blocks
    theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    app = gradio.mount_gradio_app(
        FastAPI(openapi_url=None), blocks, "/", server_name=HOST, footer_links=[], run_history=False, ssr_mode=False,
        mcp_server=False, enable_monitoring=False, pwa=False, show_error=True, max_file_size=0, theme=theme,
        css=render.STYLE, app_kwargs={"openapi_url": None},
    )  # fmt: skip
    return guarded(app)


class _Page:
    """What stands on the page, and what happens when something is changed."""

    def __init__(self, gradio: Any, chosen: list[Choice], shelf: Shelf):
        self.shelf, self.chosen = shelf, chosen
        self.texts, self.origin = examples(chosen[0].place, shelf.take(chosen[0]))
        with gradio.Blocks(title="electrain inspect", analytics_enabled=False) as self.blocks:
            self._lay_out(gradio)

    def _lay_out(self, gr: Any) -> None:
        start = self.texts[0]
        with gr.Row():
            pickers = [self._picker(gr, number) for number in range(2)]
        text = gr.Textbox(start, label="Text", lines=3, max_lines=12, max_length=MAX_TEXT, elem_id="text")
        with gr.Row():
            look = gr.Button("Look", variant="primary", elem_id="look")
            another = gr.Button("Another example", elem_id="example")
            numbers = gr.Checkbox(False, label="numbers under the tokens", elem_id="numbers")
        gr.Markdown(f"Examples: {self.origin}.")
        plain = gr.HTML(elem_id="plain")
        gr.Markdown("### Corrupted by the generator, as in pre-training")
        with gr.Row():
            rate = gr.Slider(0.05, 0.8, 0.15, step=0.05, label="share selected", elem_id="rate")
            temperature = gr.Slider(0, 3, 1, step=0.05, label="temperature (0: the likeliest)", elem_id="temperature")
            seed = gr.Number(0, label="seed", precision=0, elem_id="seed")
        falling = self._falling(gr, temperature)
        two = len(self.chosen) == 2 or bool(steps_of(self.chosen[0].place))
        first = 0 if self.shelf.take(self.chosen[0]).lm is not None else len(self.chosen) - 1
        by = gr.Radio(list(BY), value=BY[first], label="corrupted by", visible=two, elem_id="by")
        damage = gr.HTML(elem_id="damage")

        which = [text, *pickers, numbers]
        how = [rate, temperature, seed, by]
        at = gr.State(0)
        both = {"fn": self._both, "inputs": [*which, *how], "outputs": [plain, damage]}
        only = {"fn": self._corrupted, "inputs": [*which, *how], "outputs": [damage]}
        # Of what is dragged or typed while the models are at work, the last comes next; one thread has the models.
        same = {
            "concurrency_limit": 1,
            "concurrency_id": "models",
            "show_progress": "minimal",
            "api_visibility": "private",
            "trigger_mode": "always_last",
        }
        gr.on([look.click, text.submit, self.blocks.load, numbers.change, *(p.change for p in pickers)], **both, **same)
        another.click(self._another, [at], [text, at], **same).then(**both, **same)
        gr.on([rate.change, temperature.change, seed.change, by.change], **only, **same)
        if falling is not None:
            slider, function = falling
            slider.change(function, [slider], [temperature], **same)

    def _picker(self, gr: Any, number: int) -> Any:
        """Which checkpoint, or for the second side of one run, whether there is any."""
        choice = self.chosen[min(number, len(self.chosen) - 1)]
        steps = steps_of(choice.place)
        options = ["latest", "best", *reversed(steps)] if steps else ["latest"]
        alone = number == len(self.chosen)
        if alone:
            options = [NOBODY, *options]
        return gr.Dropdown(
            options,
            value=NOBODY if alone else choice.checkpoint,
            label=f"checkpoint of {choice.place}" if not alone else "beside it",
            visible=bool(steps),
            elem_id=f"side{number}",
        )

    def _falling(self, gr: Any, temperature: Any) -> tuple[Any, Callable[[float], float]] | None:
        schedule = self.shelf.take(self.chosen[0]).falling
        if schedule is None:
            return None
        slider = gr.Slider(
            0, 100, 100, step=1, label="temperature as at so many % of this run's training", elem_id="done"
        )
        return slider, lambda done: round(float(schedule(torch.tensor(done / 100))), 2)

    def _sides(self, first: str, second: str) -> list[views.Side]:
        picked = [self.chosen[0]._replace(checkpoint=first)]
        if second != NOBODY:
            picked.append(self.chosen[-1]._replace(checkpoint=second))
        return [(choice, self.shelf.take(choice)) for choice in picked]

    def _both(self, text: str, first: str, second: str, numbers: bool, *how: Any) -> tuple[str, str]:
        try:
            plain = views.as_it_stands(self._sides(first, second), text, numbers)
        except UserError as error:
            return render.paragraph(str(error), note=True), ""
        return plain, self._corrupted(text, first, second, numbers, *how)

    def _corrupted(
        self, text: str, first: str, second: str, numbers: bool, rate: float, temperature: float, seed: float, by: str
    ) -> str:
        try:
            which = self._sides(first, second)
            chosen = How(rate, temperature, int(seed or 0))
            number = None if by == BY[2] else min(BY.index(by), len(which) - 1)
            return views.corrupted(which, text, chosen, number, numbers)
        except UserError as error:
            return render.paragraph(str(error), note=True)

    def _another(self, at: int) -> tuple[str, int]:
        at = (at + 1) % len(self.texts)
        return self.texts[at], at
