"""Figures that judge predictions: scikit-learn's and scipy's, with what is undefined said once, here.

Shares are from 0 to 1, correlations from -1 to 1. A correlation with a constant (a network that answers everything the
same) is undefined and counts 0, as scikit-learn has it for Matthews.
"""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped

from electrain.errors import UserError
from electrain.finetune.task import Predictions

Gold = Shaped[np.ndarray, " r"]


def accuracy(said: Gold, gold: Gold) -> float:
    """Share of the rows that are right."""
    return float(np.mean(said == gold))


def f1(said: Gold, gold: Gold) -> float:
    """F1 of class 1; 0 if it neither occurs nor is said."""
    from sklearn.metrics import f1_score

    return float(f1_score(gold == 1, said == 1, zero_division=0.0))  # pyright: ignore[reportArgumentType]


def macro_f1(said: Gold, gold: Gold) -> float:
    """Mean F1 of the classes that occur or are said."""
    from sklearn.metrics import f1_score

    return float(f1_score(gold, said, average="macro", zero_division=0.0))  # pyright: ignore[reportArgumentType]


def matthews(said: Gold, gold: Gold) -> float:
    """Matthews correlation, of any number of classes."""
    from sklearn.metrics import matthews_corrcoef

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A single label was found")  # the case said above
        return float(matthews_corrcoef(gold, said))


def pearson(said: Gold, gold: Gold) -> float:
    """Pearson's correlation."""
    return _correlation(said, gold, "pearsonr")


def spearman(said: Gold, gold: Gold) -> float:
    """Spearman's rank correlation; ties share the mean of their ranks."""
    return _correlation(said, gold, "spearmanr")


def mse(said: Gold, gold: Gold) -> float:
    """Mean squared error, in the square of the labels' unit."""
    return float(np.mean((said.astype(np.float64) - gold.astype(np.float64)) ** 2))


def rmse(said: Gold, gold: Gold) -> float:
    """Root of the mean squared error, in the labels' unit."""
    return mse(said, gold) ** 0.5


Metric = Callable[[Gold, Gold], float]
METRICS: dict[str, Metric] = {
    metric.__name__: metric for metric in (accuracy, f1, macro_f1, matthews, pearson, spearman, mse, rmse)
}


def figures(names: Sequence[str], said: Gold, gold: Gold) -> dict[str, float]:
    """Some of METRICS by name."""
    return {name: METRICS[name](said, gold) for name in names}


def stacked(what: str, predictions: Predictions, count: int) -> Float[np.ndarray, "r k"]:
    """What a head said of every row, float32; `what` names the rows in messages.

    UserError if there are other than `count` predictions, or one is not finite.
    """
    if len(predictions) != count:
        raise UserError(f"{what}: {len(predictions)} predictions for {count} rows; predict each row once")
    logits = np.stack([np.atleast_1d(np.asarray(row[0], np.float32)) for row in predictions])
    finite(what, logits)
    return logits


def finite(what: str, logits: Shaped[np.ndarray, "r ..."]) -> None:
    """UserError that names the first row with NaN or infinity."""
    bad = ~np.isfinite(logits).reshape(len(logits), -1).all(1)
    if bad.any():
        raise UserError(
            f"{what}, row {int(bad.argmax()) + 1}: the prediction is not a number ({int(bad.sum())} of {len(logits)} "
            "rows): training diverged; lower --lr"
        )


def classes(logits: Float[np.ndarray, "r k"]) -> Int[np.ndarray, " r"]:
    """The likeliest class; of equals the first."""
    return logits.argmax(1)


def shares(logits: Float[np.ndarray, "r k"]) -> Float[np.ndarray, "r k"]:
    """Probabilities of the classes."""
    weight = np.exp(logits - logits.max(1, keepdims=True))
    return weight / weight.sum(1, keepdims=True)


def _correlation(said: Gold, gold: Gold, name: str) -> float:
    from scipy import stats

    if len(said) < 2 or np.ptp(said) == 0 or np.ptp(gold) == 0:
        return 0.0
    return float(getattr(stats, name)(said.astype(np.float64), gold.astype(np.float64)).statistic)
