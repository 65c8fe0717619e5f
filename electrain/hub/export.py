"""Out: a run's discriminator, generator or BERT as a folder that transformers loads; and to the Hub."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from electrain import __version__
from electrain import checkpoint as checkpoints
from electrain.data.tokenizer import load_tokenizer, vocab_of
from electrain.errors import UserError, reason
from electrain.hub.average import last_of, load_mean
from electrain.hub.card import Facts, card
from electrain.hub.folder import MARK, check, quiet, whole
from electrain.hub.weights import as_transformers, part_of
from electrain.run import Record
from electrain.systems.base import Pretraining
from electrain.systems.networks import Part, networks
from electrain.tracking import say
from electrain.vocab import Vocab


def export(
    run_dir: str | Path,
    out: str | Path,
    part: Part | None = None,
    checkpoint: str | int = "latest",
    name: str = "",
    warn: Callable[[str], None] = say,
    average: int = 1,
) -> Path:
    """Write a run's model as a folder for transformers, with tokenizer and model card; returns the folder.

    part:        the discriminator where there is one and the masked language model where there is none, unless said
    checkpoint:  "latest", "best" (lowest held-out loss), or a step. (ELECTRA's loss is measured against a generator
                 that gets harder to see through, so that the lowest need not be the best.)
    name:        what the examples on the card load, where it will be on the Hub
    average:     the mean of the weights of so many checkpoints, that one the last of them
    UserError if the run, the checkpoint or the part is not there, or `out` holds anything but an earlier export.
    """
    run_dir, out = Path(run_dir), Path(out)
    check(out)
    record = Record.load(run_dir)
    vocab = vocab_of(load_tokenizer(run_dir / "tokenizer"))
    path = checkpoint_of(run_dir, checkpoint, warn)
    paths = last_of(run_dir, path, average, warn)
    system = record.run.system.build(vocab)
    load_mean(system, paths)
    steps = tuple(map(checkpoints.step_of, paths))
    usual: tuple[Part, ...] = (*networks(system), "discriminator")
    part = usual[0] if part is None else part
    facts = Facts.of(run_dir, record, part_of(system, part), part, steps=steps, name=name or "FOLDER")
    to_transformers(system, vocab, run_dir / "tokenizer", out, part, card(facts), steps)
    return out


def to_transformers(
    system: Pretraining,
    vocab: Vocab,
    tokenizer_dir: str | Path,
    out_dir: str | Path,
    part: Part,
    card: str,
    steps: tuple[int, ...] = (),
) -> None:
    """Write one part of a system as a folder that transformers and sentence-transformers load.

    config.json, model.safetensors (float32), the tokenizer, README.md with the text `card`, and the two small files by
    which SentenceTransformer(folder) takes the mean of the token vectors. `steps`, of which the weights are (or the
    mean), are noted in electrain.json. UserError if the system has no such part, the tokenizer is not the system's, or
    `out_dir` holds anything but an earlier export; a folder is whole or not there.
    """
    model = part_of(system, part)
    tokenizer = load_tokenizer(tokenizer_dir)
    if vocab_of(tokenizer) != vocab:
        raise UserError(
            f"{tokenizer_dir}: a vocabulary of {vocab_of(tokenizer).size} tokens with its own special ids, "
            f"the model's has {vocab.size}; name the tokenizer that the model was trained with"
        )
    tokenizer.model_max_length = model.encoder.config.positions
    with whole(Path(out_dir)) as folder, quiet():
        as_transformers(model, vocab).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(card, encoding="utf-8")
        _sentence_transformers(folder, model.encoder.config.hidden, model.encoder.config.positions)
        made = {"part": part, "electrain": __version__, "encoder": asdict(model.encoder.config), "steps": steps}
        _write(folder / MARK, made)


def push(folder: str | Path, name: str, *, private: bool = True) -> str:
    """Upload an exported folder to the Hugging Face Hub as `name` ("owner/model"); returns its address.

    The token is the one that the user logged in with (`hf auth login`) and is not read here. A new repository is
    private unless said otherwise: publishing cannot be taken back. UserError if the Hub refuses or is not reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    folder = Path(folder)
    if not (folder / MARK).is_file():
        raise UserError(f"{folder}: is no export of electrain; make one with: electrain export RUN --out DIR")
    try:
        api = HfApi()
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=address.repo_id, folder_path=folder, commit_message=f"electrain {__version__}")
    except LocalTokenNotFoundError as error:
        raise UserError("--push-to-hub: nobody is logged in to the Hub here; run `hf auth login` first") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        mend = (
            "run `hf auth login` with a token that may write"
            if status in (401, 403)
            else "check the name and try again"
        )
        raise UserError(f"--push-to-hub {name}: the Hub refused ({status}); {mend}; {folder} is whole") from error
    except Exception as error:  # a name that the Hub's client will not take, no network: nothing was uploaded
        raise UserError(f"--push-to-hub {name}: {reason(error)}; {folder} is whole") from error
    return str(address)


def checkpoint_of(run_dir: Path, which: str | int, warn: Callable[[str], None]) -> Path:
    """A whole checkpoint of a run: "latest", "best" (lowest held-out loss), or a step. UserError if there is none."""
    if isinstance(which, int) or which.isdecimal():
        which = int(which)
        there = {checkpoints.step_of(path): path for path in checkpoints.listed(run_dir)}
        if which not in there:
            steps = ", ".join(map(str, there)) or "none"
            raise UserError(f"{run_dir}: has no checkpoint of step {which}; it has: {steps}")
        if reason := checkpoints.damage(there[which]):
            raise UserError(f"{there[which]}: damaged ({reason}); choose another step")
        return there[which]
    if which not in ("best", "latest"):
        raise UserError(f"--checkpoint {which}: choose best, latest, or the number of a step")
    path = checkpoints.best(run_dir, warn) if which == "best" else checkpoints.latest(run_dir, warn)
    if path is None:
        raise UserError(f"{run_dir}: has no whole checkpoint; go on with the run until it has saved one")
    return path


def _sentence_transformers(folder: Path, width: int, positions: int) -> None:
    """What SentenceTransformer(folder) reads: the model, then the mean over tokens. Names that version 2 to 6 know."""
    kinds = (("", "sentence_transformers.models.Transformer"), ("1_Pooling", "sentence_transformers.models.Pooling"))
    modules = [{"idx": at, "name": str(at), "path": path, "type": kind} for at, (path, kind) in enumerate(kinds)]
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": positions, "do_lower_case": False})
    (folder / "1_Pooling").mkdir()
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True})


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
