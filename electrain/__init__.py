"""Pre-train your own text encoder: ELECTRA, its descendants and the BERT baselines.

Importing the package imports none of its parts, so that it costs nothing: import `electrain.run`, `electrain.train`
and so on by name.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("electrain")
except PackageNotFoundError:  # run from the sources, not installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
