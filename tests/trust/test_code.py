"""No code from outside runs: not from a pickle, not from a model's folder, not from a data set's."""

import ast
import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.cache.conftest import with_tokenizer
from tests.commands import give
from tests.training import BERT, one_thread, tiny  # noqa: F401 - a fixture

PACKAGE = Path(__file__).resolve().parents[2] / "electrain"
LOADERS = {"from_pretrained", "from_config", "load_dataset", "get_dataset_config_names", "load_checkpoint"}
# `datasets` runs no code of a data set any more (from its version 4 on); it has no such argument.
WITHOUT = {"load_dataset", "get_dataset_config_names"}
# What executes what it reads.
FORBIDDEN = {("pickle", "load"), ("pickle", "loads"), ("torch", "load"), ("joblib", "load"), ("builtins", "eval")}


def calls() -> Iterator[tuple[str, ast.Call, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                if isinstance(node.func, ast.Attribute):
                    owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node, f"{owner}.{node.func.attr}"
                elif isinstance(node.func, ast.Name):
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node, f"builtins.{node.func.id}"


def said(call: ast.Call, name: str) -> object:
    """The constant that a call gives to an argument, or None."""
    found = [word.value for word in call.keywords if word.arg == name]
    return found[0].value if found and isinstance(found[0], ast.Constant) else None


def test_every_loader_is_told_to_trust_no_code() -> None:
    found = [(where, call, name.partition(".")[2]) for where, call, name in calls()]
    loaders = [(where, call, name) for where, call, name in found if name in LOADERS - WITHOUT]
    assert len(loaders) > 3
    trusting = [where for where, call, _ in loaders if said(call, "trust_remote_code") is not False]
    # Quickstart reads the folders that it has just written: nobody else's code can be in them.
    wrong = [where for where in trusting if not where.startswith("quickstart.py:")]
    assert not wrong, wrong
    assert not [where for where, call, _ in found if said(call, "trust_remote_code") is True]


def test_nothing_executes_what_it_reads() -> None:
    wrong = [f"{where} {name}" for where, _, name in calls() if tuple(name.split(".")) in FORBIDDEN]
    wrong += [f"{where} {name}" for where, call, name in calls() if said(call, "allow_pickle") is True]
    assert not wrong, wrong


class Payload:
    """Pickled, it makes a file when it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and a transformers folder of a tiny ELECTRA with its tokenizer."""
    from transformers import ElectraConfig, ElectraForPreTraining

    folder = tmp_path_factory.mktemp("trust")
    with_tokenizer(folder / "data")
    config = ElectraConfig(
        vocab_size=200, embedding_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=16,
    )  # fmt: skip
    ElectraForPreTraining(config).save_pretrained(folder / "model")
    for path in (folder / "data" / "tokenizer").iterdir():
        shutil.copy(path, folder / "model")
    (folder / "texts.txt").write_text("\n\n".join(f"w{n} w{n + 1} w{n + 2}" for n in range(5, 60)))
    (folder / "table.csv").write_text("text,label\n" + "".join(f"w{n} w9,{n % 2}\n" for n in range(5, 60)))
    return folder


MODEL = {
    "score": ("score", "--model", "MODEL", "--file", "WORLD/texts.txt"),
    "blimp": ("blimp", "--model", "MODEL", "--data", "WORLD", "--out", "OUT"),
    "finetune": ("finetune", "classify", "--model", "MODEL", "--data", "WORLD/table.csv", "--out", "OUT"),
    "cache": ("cache", "MODEL", "--data", "WORLD/data", "--out", "OUT", "--length", "16"),
    "pretrain": ("pretrain", "electra_tiny", "--data", "WORLD/data", "--out", "OUT", "--start-from", "MODEL"),
    "export": ("export", "MODEL", "--out", "OUT"),
}


def words(form: tuple[str, ...], world: Path, out: Path, model: Path) -> list[str]:
    return [word.replace("WORLD", str(world)).replace("OUT", str(out)).replace("MODEL", str(model)) for word in form]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "model.pt", "pytorch_model.bin.index.json"])
@pytest.mark.parametrize("verb", MODEL)
def test_a_pickle_in_a_model_is_not_opened(
    world: Path, tmp_path: Path, verb: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    marker, model = tmp_path / "marker", tmp_path / "model"
    shutil.copytree(world / "model", model)
    if name == "model.safetensors":
        (model / name).write_bytes(pickle.dumps(Payload(marker)))
    else:
        (model / "model.safetensors").unlink()
        torch.save({"weight": Payload(marker)}, model / "pytorch_model.bin")
        if name == "model.pt":
            (model / "pytorch_model.bin").rename(model / name)
        elif name.endswith(".json"):
            (model / name).write_text(json.dumps({"metadata": {}, "weight_map": {"x": "pytorch_model.bin"}}))
    left = give(capsys, *words(MODEL[verb], world, tmp_path / "out", model))
    assert not marker.exists()
    assert left.code == 2 and left.said.splitlines()[-1].startswith("electrain: ") and "Traceback" not in left.said
    torch.load(model / "pytorch_model.bin", weights_only=False) if (model / "pytorch_model.bin").exists() else None
    assert marker.exists() == (model / "pytorch_model.bin").exists()  # the payload does work


@pytest.mark.parametrize("verb", MODEL)
def test_a_pickle_as_the_model_is_not_opened(
    world: Path, tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    marker, model = tmp_path / "marker", tmp_path / "weights.pt"
    torch.save(Payload(marker), model)
    left = give(capsys, *words(MODEL[verb], world, tmp_path / "out", model))
    assert not marker.exists()
    assert left.code == 2 and len(left.said.splitlines()) == 1


def test_an_array_of_objects_is_not_opened(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marker, data = tmp_path / "marker", tmp_path / "data"
    shutil.copytree(world / "data", data)
    np.save(data / "frequencies.npy", np.array([Payload(marker)] * 200, object))
    left = give(capsys, "pretrain", "electra_unigram", "--size", "tiny", "--data", data, "--out", tmp_path / "run")
    assert not marker.exists()
    assert left.code == 2 and "frequencies.npy: cannot be read" in left.said
    np.load(data / "frequencies.npy", allow_pickle=True)
    assert marker.exists()


@pytest.mark.parametrize("name", ["evil.jsonl", "evil.parquet", "evil.txt", "evil.pkl", "evil.jsonl.gz"])
def test_a_pickle_is_no_corpus(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    marker = tmp_path / "marker"
    (tmp_path / name).write_bytes(pickle.dumps(Payload(marker), protocol=4))
    left = give(capsys, "prepare", "--corpus", tmp_path / name, "--out", tmp_path / "out", "--workers", 1)
    assert not marker.exists() and not (tmp_path / "out").exists()
    assert left.code == 2 and left.said.splitlines()[-1].startswith("electrain: ")


SCRIPT = """
from pathlib import Path
Path({marker!r}).touch()
import transformers
class Evil(transformers.PreTrainedConfig):
    model_type = "evil"
class EvilTokenizer(transformers.PreTrainedTokenizerFast): ...
class EvilModel(transformers.PreTrainedModel): ...
"""


@pytest.mark.parametrize("verb", MODEL)
def test_code_in_a_model_does_not_run(
    world: Path, tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with `auto_map`: no question is asked either."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run the code"))
    marker, model = tmp_path / "marker", tmp_path / "model"
    shutil.copytree(world / "model", model)
    (model / "evil.py").write_text(SCRIPT.format(marker=str(marker)))
    classes = {"AutoConfig": "evil.Evil", "AutoModel": "evil.EvilModel", "AutoModelForMaskedLM": "evil.EvilModel"}
    tree = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**tree, "model_type": "evil", "auto_map": classes}))
    path = model / "tokenizer_config.json"
    tree = json.loads(path.read_text())
    tree |= {
        "auto_map": {"AutoTokenizer": ["evil.EvilTokenizer", "evil.EvilTokenizer"]},
        "tokenizer_class": "EvilTokenizer",
    }
    path.write_text(json.dumps(tree))
    left = give(capsys, *words(MODEL[verb], world, tmp_path / "out", model))
    assert not marker.exists()
    assert left.code == 2 and left.said.splitlines()[-1].startswith("electrain: ")


def test_code_of_a_tokenizer_does_not_run(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run the code"))
    marker, tokenizer = tmp_path / "marker", tmp_path / "tokenizer"
    shutil.copytree(world / "data/tokenizer", tokenizer)
    (tokenizer / "evil.py").write_text(SCRIPT.format(marker=str(marker)))
    path = tokenizer / "tokenizer_config.json"
    tree = json.loads(path.read_text())
    tree |= {"auto_map": {"AutoTokenizer": [None, "evil.EvilTokenizer"]}, "tokenizer_class": "EvilTokenizer"}
    path.write_text(json.dumps(tree))
    give(
        capsys, "prepare", "--corpus", world / "texts.txt", "--tokenizer", tokenizer, "--out", tmp_path / "out",
        "--documents", "blank-lines", "--workers", 1, "--validation", 0.3,
    )  # fmt: skip
    assert not marker.exists()


def test_code_of_a_data_set_does_not_run(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marker, data = tmp_path / "marker", tmp_path / "evil"
    data.mkdir()
    lines = ("from pathlib import Path", f"Path({str(marker)!r}).touch()", "import datasets")
    script = "\n".join([*lines, "class Evil(datasets.GeneratorBasedBuilder): ..."])
    (data / "evil.py").write_text(script)
    verbs = (
        ("prepare", "--corpus", f"hub:{data}", "--out", tmp_path / "out"),
        ("finetune", "classify", "--model", world / "model", "--data", data, "--out", tmp_path / "out"),
        ("finetune", "squad", "--model", world / "model", "--data", data, "--out", tmp_path / "out"),
        ("finetune", "sst2", "--model", world / "model", "--data", data, "--out", tmp_path / "out"),
        ("blimp", "--model", world / "model", "--data", data, "--out", tmp_path / "out"),
    )
    for verb in verbs:
        left = give(capsys, *verb)
        assert not marker.exists(), verb
        assert left.code == 2 and left.said.splitlines()[-1].startswith("electrain: "), verb


def test_a_run_names_only_configurations(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """run.json names types: none but configurations of ours are made of it, and no module is imported for it."""
    run = tiny(BERT, 2)
    (tmp_path / "evil_module.py").write_text("raise SystemExit('ran')")
    for kind in (
        "subprocess:Popen",
        "os:system",
        "evil_module:X",
        "builtins:exec",
        "electrain.cli:main",
        "pickle:loads",
    ):
        tree = run.to_json()
        tree["system"]["type"] = kind
        record = {"run": tree, "data": "", "data_sha256": "", "command": "", "versions": {}, "machine": ""}
        (tmp_path / "run.json").write_text(json.dumps(record))
        left = give(capsys, "export", tmp_path, "--out", tmp_path / "out")
        assert left.code == 2 and "which is no configuration here" in left.said, kind


def test_weights_of_a_run_are_safetensors_alone(tmp_path: Path) -> None:
    """What a checkpoint's reader does with a pickle under the name of a weight file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    marker = tmp_path / "marker"
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert load_file(tmp_path / "model.safetensors")["x"].shape == (1,)
    (tmp_path / "model.safetensors").write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(SafetensorError):
        load_file(tmp_path / "model.safetensors")
    assert not marker.exists()
