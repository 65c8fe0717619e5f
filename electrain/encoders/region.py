"""Layers that are alike, compiled once for all of them: without this the compiler traces and writes each anew."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from electrain.randomness import Drop, later

# Before 2.13 PyTorch traces every region again; and on a GPU nothing has been measured.
_SHARED = TorchVersion(torch.__version__) >= "2.13"


def layered(layer: nn.Module, x: Tensor, seen: Any, drop: Drop | None, site: int, *, kind: tuple) -> Tensor:
    """`layer(x, seen, drop, site)`, with the same numbers; compiled for a CPU, as a region that layers share.

    kind: constants that tell apart layers whose code differs. The compiler looks at shapes, numbers and tensors alone:
          it would take a layer with a norm for one with an identity in its place.
    """
    if not (_SHARED and torch.compiler.is_compiling() and x.device.type == "cpu"):
        return layer(x, seen, drop, site)
    if drop is None:
        return _region(layer, kind, x, seen, None, None)
    # The number of the site would be a constant of the region and make every layer another one. As one tensor: two that
    # lie in one storage may not enter a region.
    words = later(drop, site)
    return _region(layer, kind, x, seen, torch.stack((words.low, words.high)), drop.rate)


def _call(layer: nn.Module, kind: tuple, x: Tensor, seen: Any, words: Tensor | None, rate: Tensor | None) -> Tensor:
    return layer(x, seen, None if words is None else Drop(words[0], words[1], rate), 0)


_region = cast(Callable[..., Tensor], torch.compiler.nested_compile_region(_call))
