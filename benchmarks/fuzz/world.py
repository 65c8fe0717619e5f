"""Valid samples of everything: a corpus, what is prepared from it, a run, its export, a cache."""

from pathlib import Path

from electrain.compute import Compute
from electrain.corruptors.joint import Joint
from electrain.data.prepare import prepare
from electrain.data.settings import Prepare
from electrain.encoders.bert import Bert
from electrain.hub.export import export
from electrain.objectives.rtd import Rtd
from electrain.optim.adam import Adam
from electrain.propose import Proposing, propose
from electrain.run import Run
from electrain.system import System
from electrain.train import pretrain

SENTENCES = (
    "the cat sat on the mat and looked at the moon",
    "two films that nobody liked were shown again",
    "Élan vital: don't panic, it is 1,234.5 in Straße 東京",
    "a dog sang; the good people of Paris went home",
)
TEXT = "\n\n".join(f"{one} {number}.\n{SENTENCES[number % 3]}" for number in range(12) for one in SENTENCES)
LENGTH = 16


def build(folder: Path) -> None:
    """Make FOLDER/data, run, model (an export), generator (another) and cache."""
    folder.mkdir(parents=True)
    (folder / "texts.txt").write_text(TEXT, encoding="utf-8")
    prepare(
        Prepare(
            corpus=(str(folder / "texts.txt"),),
            out=folder / "data",
            documents="blank-lines",
            vocab_size=300,
            validation=0.3,
            workers=1,
        )
    )
    compute = Compute(device="cpu", dtype="float32", compile=False, threads=1)
    encoder = Bert.Config(layers=1, hidden=8, ffn=8, heads=2, embedding=8, positions=LENGTH)
    system = System.Config(encoder, Joint.Config(width=0.5), Rtd.Config())
    run = Run(
        system, recipe="tiny", steps=4, batch=4, length=LENGTH, log_every=2, eval_every=2, eval_rows=4, save_every=2,
        optim=Adam(warmup=2), compute=compute,
    )  # fmt: skip
    pretrain(run, folder / "data", folder / "run", "electrain pretrain tiny")
    export(folder / "run", folder / "model")
    export(folder / "run", folder / "generator", part="generator")
    propose(
        Proposing(
            str(folder / "generator"), folder / "data", folder / "cache", selections=2, top_k=4, length=LENGTH, batch=4,
            compute=compute,
        )
    )  # fmt: skip
