"""Warnings come when something is wrong, once, and never on a run that is well."""

from electrain.watch import Watch

WELL = {"loss": 12.0, "mlm_loss": 3.1, "mlm_accuracy": 0.41, "generator_entropy": 2.9, "rtd_auc": 0.93}
BLIND = WELL | {"rtd_auc": 0.502}
COLLAPSED = WELL | {"mlm_loss": 8.9, "mlm_accuracy": 0.06, "generator_entropy": 0.03}


def test_a_run_that_is_well_is_left_alone() -> None:
    watch = Watch(10_000)
    start = {"mlm_loss": 10.3, "mlm_accuracy": 0.0, "generator_entropy": 10.2, "rtd_auc": 0.5}
    assert watch.observe(100, start) == []  # at the start everything looks sick
    assert [watch.observe(step, WELL) for step in range(1000, 10_000, 100)] == [[]] * 90
    bert = {"loss": 2.0, "mlm_loss": 2.0, "mlm_accuracy": 0.6}
    assert [watch.observe(step, bert) for step in (1000, 9000)] == [[], []]
    # An easy corpus: a generator that is nearly always right has little entropy, and that is no collapse.
    assert watch.observe(5000, WELL | {"mlm_accuracy": 0.97, "generator_entropy": 0.1}) == []
    # Nothing was replaced, so there is no area under the curve.
    assert watch.observe(5000, WELL | {"rtd_auc": float("nan")}) == []


def test_a_discriminator_no_better_than_the_majority() -> None:
    watch = Watch(10_000)
    assert watch.observe(900, BLIND) == []
    (said,) = watch.observe(2000, BLIND)
    assert said.startswith("step 2000: the discriminator is no better than calling every token original (AUC 0.502); ")
    assert [watch.observe(step, BLIND) for step in (2100, 2200)] == [[], []]  # once
    assert watch.observe(2300, WELL) == []
    assert len(watch.observe(2400, BLIND)) == 1  # and again after it had gone


def test_a_generator_of_low_entropy() -> None:
    watch = Watch(1000)
    assert watch.observe(299, COLLAPSED) == []  # patience is 300 steps at least
    (said,) = watch.observe(300, COLLAPSED)
    assert said.startswith("step 300: the generator has collapsed to an entropy of 0.03 nats without being right; ")
    (other,) = watch.observe(400, COLLAPSED | {"rtd_auc": 0.4})  # the other sign is news
    assert "discriminator" in other
