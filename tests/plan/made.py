"""A run's needs as round numbers, for arithmetic by hand."""

from electrain.plan.needs import Needs

# 1,000 parameters in 4 layers of 200 and 200 in tables and heads, 100 of them tables; a row of 10 tokens.
NEEDS = Needs(
    recipe="made",
    steps=1000,
    batch=64,
    length=10,
    dtype="bfloat16",
    parameters=1000,
    trained=900,
    layers=(200, 200, 200, 200),
    last=100,
    copies=1600,
    alive={"activations, bfloat16": 5000.0, "logits, float32": 3000.0},
    saved=6000.0,
    operations=1e9,
    products=10,
)
