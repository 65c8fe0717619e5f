"""The model card of a fine-tuned network."""

from electrain import redaction
from electrain.escaping import markdown
from electrain.finetune.results import Result
from electrain.finetune.task import Task


def card(task: Task, result: Result, model: str, steps: int) -> str:
    """README.md: what it was made from, how well it does on the judged splits, how to load it."""
    rows = [
        f"| {split} | {name} | {value:.4f} |"
        for split, scores in result.scores.items()
        for name, value in scores.items()
    ]
    labels = f"Labels: {', '.join(map(markdown, task.labels))}.\n\n" if task.labels else ""
    return f"""---
library_name: transformers
tags: [electrain, {task.name}]
---

# {task.name}, fine-tuned from {markdown(redaction.text(model))}

Made with `electrain finetune {task.name}`, seed {result.seed}, {steps:,} steps.

| split | figure | value |
|---|---|---|
{chr(10).join(rows)}

{labels}Load it with `AutoTokenizer` and the class that config.json names under `architectures`.
"""
