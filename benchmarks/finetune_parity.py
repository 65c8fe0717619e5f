"""Does our fine-tuning end where transformers' own does? The same checkpoint, data and settings, several seeds each.

One side is `electrain finetune`, the other ElectraForSequenceClassification under transformers' Trainer. Both: AdamW
with bias correction, the same learning rate for all layers (the Trainer knows no layer-wise decay), linear warm-up and
decay, clip 1, dropout 0.1, rows cut to 128 tokens. Order of the rows, dropout and fresh heads differ from seed to seed
and from side to side, so that means are compared by the spread of the seeds.

    python benchmarks/finetune_parity.py --model EXPORT --data GLUE --tasks mrpc stsb --seeds 5 --out RESULT.json
"""

import argparse
import json
import math
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from electrain.compute import Compute
from electrain.data.tokenizer import load_tokenizer, vocab_of
from electrain.finetune.conduct import finetune
from electrain.finetune.glue import GlueTask
from electrain.finetune.results import read
from electrain.finetune.settings import Finetune
from electrain.start import machine, versions

LR, BATCH, WARMUP = 3e-4, 32, 0.1


def ours(args: argparse.Namespace, name: str, folder: Path) -> list[float]:
    """The task's metric of every seed."""
    how = Finetune(
        str(args.model), folder, str(args.data), seeds=args.seeds, lr=LR, decay=1.0, epochs=args.epochs, keep="none",
        compute=Compute(compile=False, dtype="float32"),
    )  # fmt: skip
    finetune(name, how)
    return read(folder / name / "summary.json")["runs"]


def theirs(args: argparse.Namespace, name: str, seed: int) -> float:
    """The task's metric on the same rows, by the same scorer."""
    from transformers import DataCollatorWithPadding, ElectraForSequenceClassification, Trainer, TrainingArguments

    tokenizer = load_tokenizer(args.model)
    task = GlueTask(name, str(args.data), tokenizer, vocab_of(tokenizer))

    def rows(split: str) -> list[dict[str, Any]]:
        made = []
        for row in task.rows(split):
            ids = row.ids.tolist()
            target = float(row.target[0]) if not task.labels else int(row.target[0])
            segments = [int(place >= row.second) for place in range(len(ids))]
            made.append({"input_ids": ids, "token_type_ids": segments, "labels": target})
        return made

    torch.manual_seed(seed)
    model = ElectraForSequenceClassification.from_pretrained(
        args.model, num_labels=max(1, len(task.labels)), hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1
    )
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=128,
            learning_rate=LR,
            warmup_steps=WARMUP,
            num_train_epochs=args.epochs or task.epochs,
            adam_epsilon=1e-6,
            max_grad_norm=1.0,
            seed=seed,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(
            model, settings, data_collator=DataCollatorWithPadding(tokenizer), train_dataset=rows("train")
        )
        trainer.train()
        split = task.judged[0]
        logits = np.asarray(trainer.predict(rows(split)).predictions, np.float32)
    return task.score(split, [(row,) for row in logits])[task.metric]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="an ELECTRA as `electrain export` writes it")
    parser.add_argument("--data", type=Path, required=True, help="folder of GLUE")
    parser.add_argument("--tasks", nargs="+", default=["mrpc", "stsb"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    report: dict[str, Any] = {"machine": machine(), "versions": versions(), "tasks": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.tasks:
            sides = {"electrain": ours(args, name, Path(folder))}
            sides["transformers"] = [theirs(args, name, seed) for seed in range(args.seeds)]
            means = {side: statistics.fmean(runs) for side, runs in sides.items()}
            deviations = {side: statistics.stdev(runs) for side, runs in sides.items()}
            # Welch's t: the difference of the means by its standard error.
            error = math.sqrt(sum(deviation**2 / args.seeds for deviation in deviations.values()))
            t = (means["electrain"] - means["transformers"]) / error
            report["tasks"][name] = {"runs": sides, "means": means, "sd": deviations, "welch_t": t}
            for side, runs in sides.items():
                figures = " ".join(f"{value:.4f}" for value in runs)
                print(f"{name} {side:13} {means[side]:.4f} ± {deviations[side]:.4f}  {figures}")
            print(f"{name} difference of the means: {t:+.2f} standard errors", flush=True)
    if args.out:
        args.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
