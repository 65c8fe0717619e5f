"""A system's modules and the shapes of its weights, without the weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class _Unfilled(TorchFunctionMode):
    """Leaves out the start of weights, which nobody would see: on the meta device torch decomposes the calls that draw
    random numbers, and what it decomposes them by takes seconds to import.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == nn.init.__name__:
            tensor: Tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


@contextmanager
def outline() -> Iterator[None]:
    """Modules built within it have weights of a shape and a type, on the meta device, and no storage."""
    with torch.device("meta"), _Unfilled():
        yield
