"""Says so when training goes wrong: signs that people otherwise find a day later."""

from dataclasses import dataclass, field


@dataclass
class Watch:
    """Looks at each window's metrics. Every sign is reported once, and again only after it had gone.

    The thresholds are ours. Patience is a fifth of the run, at least 300 steps: at the start everything looks sick.
    """

    steps: int
    chance: float = 0.55
    """An area under the ROC curve below this is no better than calling every token original."""
    narrow: float = 0.5
    """A generator whose mean entropy, in nats, is below this puts all its mass on one token."""
    _active: set[str] = field(default_factory=set)

    def observe(self, step: int, values: dict[str, float]) -> list[str]:
        """Warnings about the window that ends at `step`."""
        if step < max(300, self.steps // 5):
            return []
        signs = {
            "discriminator": (
                values.get("rtd_auc", 1.0) < self.chance,
                f"step {step}: the discriminator is no better than calling every token original (AUC "
                f"{values.get('rtd_auc', 0):.3f}); try a smaller generator, a longer warm-up or another learning rate",
            ),
            "generator": (
                values.get("generator_entropy", 9.0) < self.narrow and values.get("mlm_accuracy", 1.0) < 0.8,
                f"step {step}: the generator has collapsed to an entropy of {values.get('generator_entropy', 0):.2f} "
                "nats without being right; lower its learning rate",
            ),
        }
        warnings = [text for name, (sick, text) in signs.items() if sick and name not in self._active]
        self._active = {name for name, (sick, _) in signs.items() if sick}
        return warnings
