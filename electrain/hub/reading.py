"""What transformers can read of a folder or a name on the Hub, or one line about why not."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from electrain.errors import UserError, reason
from electrain.hub.folder import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def config_at(name: str | Path) -> "PreTrainedConfig":
    """Transformers' configuration. UserError if there is none that it knows by itself."""
    from transformers import AutoConfig

    folder = Path(name).expanduser()
    if folder.exists() and not (folder / "config.json").is_file():
        if (folder / "run.json").is_file():
            made = f"electrain export {shlex.quote(str(name))} --out MODEL"
            raise UserError(f"{name}: is a run; name an export of it: {made} (--part generator for its generator)")
        raise UserError(
            f"{name}: no model could be found there (neither run.json nor config.json); check the folder or the name"
        )
    try:
        return AutoConfig.from_pretrained(_place(name), trust_remote_code=False)
    except Exception as error:  # whatever the reader of a damaged file or the Hub raises: not loadable
        raise UserError(
            f"{name}: no model could be found there ({reason(error)}); check the folder or the name"
        ) from error


def network_at(name: str | Path, kind: Any, what: str) -> "tuple[PreTrainedModel, set[str]]":
    """A network of one of transformers' classes, float32, and the names of weights that are not there.

    Only safetensors are read, no code from there runs. UserError, with `what` in it, if nothing could be read.
    """
    try:
        with quiet(bars=not Path(name).exists()):
            network, report = kind.from_pretrained(
                _place(name),
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:  # as above; among others a folder that has only a pickle
        raise UserError(
            f"{name}: no {what} could be read ({reason(error)}); a model.safetensors is needed, pickles are not opened"
        ) from error
    return network, set(report["missing_keys"])


def _place(name: str | Path) -> str:
    path = Path(name).expanduser()
    return str(path) if path.is_dir() else str(name)
