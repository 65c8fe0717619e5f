"""Figures by hand, from their formulas, and where they are undefined."""

import math

import numpy as np
import pytest
from scipy.stats import rankdata

from electrain.errors import UserError
from electrain.finetune.metrics import METRICS, classes, figures, shares, stacked


def by_hand(said: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """From counts of pairs of classes."""
    kinds = sorted({*said.tolist(), *gold.tolist()})
    table = np.array([[np.sum((gold == g) & (said == s)) for s in kinds] for g in kinds], float)
    total, right = table.sum(), np.trace(table)
    there, claimed = table.sum(1), table.sum(0)
    each = [2 * table[i, i] / (there[i] + claimed[i]) for i in range(len(kinds))]
    spread = math.sqrt((total**2 - (claimed**2).sum()) * (total**2 - (there**2).sum()))
    return {
        "accuracy": right / total,
        "macro_f1": float(np.mean(each)),
        "f1": each[kinds.index(1)],
        "matthews": (right * total - (there * claimed).sum()) / spread,
    }


@pytest.mark.parametrize("count", [2, 4])
def test_classes(count: int) -> None:
    random = np.random.default_rng(count)
    gold = random.integers(0, count, 300)
    said = np.where(random.random(300) < 0.5, gold, random.integers(0, count, 300))
    expected = by_hand(said, gold)
    assert figures(tuple(expected), said, gold) == pytest.approx(expected, abs=1e-12)


def test_numbers() -> None:
    random = np.random.default_rng(0)
    gold = random.integers(0, 6, 200).astype(np.float32)  # many ties
    said = gold + random.normal(0, 2, 200).astype(np.float32)
    expected = {
        "pearson": np.corrcoef(said, gold)[0, 1],
        "spearman": np.corrcoef(rankdata(said), rankdata(gold))[0, 1],
        "mse": np.mean((said.astype(float) - gold) ** 2),
        "rmse": np.sqrt(np.mean((said.astype(float) - gold) ** 2)),
    }
    assert figures(tuple(expected), said, gold) == pytest.approx(expected, abs=1e-6)


def test_a_constant_answer_is_worth_nothing() -> None:
    gold, constant = np.array([0, 1, 1, 0, 1]), np.zeros(5, np.int64)
    assert METRICS["matthews"](constant, gold) == METRICS["f1"](constant, gold) == 0
    assert METRICS["matthews"](constant, constant) == 0  # and no warning
    for name in ("pearson", "spearman"):
        assert METRICS[name](constant.astype(np.float32), gold.astype(np.float32)) == 0
    assert METRICS["accuracy"](constant, gold) == pytest.approx(0.4)


def test_what_heads_say() -> None:
    logits = stacked("x", [(np.array([1.0, 2.0]),), (np.array([3.0, 3.0]),)], 2)
    assert classes(logits).tolist() == [1, 0]
    np.testing.assert_allclose(shares(logits), [[1 / (1 + math.e), math.e / (1 + math.e)], [0.5, 0.5]], rtol=1e-6)
    with pytest.raises(UserError, match=r"sst2, dev, row 2: .*not a number \(1 of 2 rows\).*--lr"):
        stacked("sst2, dev", [(np.array([1.0, 2.0]),), (np.array([np.nan, 3.0]),)], 2)
    with pytest.raises(UserError, match="1 predictions for 2 rows"):
        stacked("x", [(np.array([1.0]),)], 2)
