"""Ours against transformers' Trainer with dynamic padding: the same network, rows, batch and dropout.

Each of the variants works in a process of its own, in turn with the others (turns.py); the figures are medians over
rounds, in examples a second of the training loop alone. All leave saving, logging and evaluation out.

    python benchmarks/finetune_speed.py --data GLUE/SST-2/train.parquet --tokenizer FOLDER --out RESULT.json
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import torch
from turns import Gate, Turns, table

from electrain.compute import Compute, casting
from electrain.encoders.bert import Bert
from electrain.start import machine, versions

SIZES = {
    "tiny": Bert.Config(layers=4, hidden=128, ffn=512, heads=4, embedding=128),
    "small": Bert.Config(),
    "base": Bert.Config(layers=12, hidden=768, ffn=3072, heads=12, embedding=768),
}
VARIANTS = ("transformers Trainer fp32", "transformers Trainer bf16", "electrain", "electrain compiled")
LENGTH, BATCH, LR = 128, 32, 3e-4


def texts(args: argparse.Namespace) -> tuple[list[str], list[str] | None, list[int]]:
    """Texts, second texts where there are any, labels."""
    from datasets import load_dataset

    table = load_dataset(args.data.suffix.removeprefix("."), data_files=str(args.data), split="train")
    table = table.select(range(min(args.rows, len(table))))
    return list(table[args.text]), list(table[args.second]) if args.second else None, list(table[args.label])


def ours(args: argparse.Namespace, compiled: bool) -> Iterator[int]:
    """Fine-tune batch by batch; yields the rows of each."""
    from electrain.data.tokenizer import load_tokenizer, vocab_of
    from electrain.finetune.batches import Batches
    from electrain.finetune.heads import Classifier
    from electrain.finetune.loop import compiled_step
    from electrain.finetune.model import Tuned
    from electrain.finetune.settings import Finetune
    from electrain.finetune.texts import core_of, encode

    compute = Compute(compile=compiled)
    device = compute.start()
    dtype = compute.precision(device)
    tokenizer = load_tokenizer(args.tokenizer)
    vocab = vocab_of(tokenizer)
    first, second, labels = texts(args)
    columns = (first,) if second is None else (first, second)
    rows = encode(core_of(tokenizer, vocab), columns, np.array(labels)[:, None], LENGTH)
    torch.manual_seed(0)
    encoder = SIZES[args.size].build(vocab)
    model = Tuned(encoder, Classifier(encoder, len(set(labels)), 0.1)).to(device)
    optim = Finetune("", Path()).optim(encoder.width, 10_000)
    optimizer = optim.build(model)
    deal = Batches(rows, vocab, BATCH, None, even=compiled)
    call = compiled_step(model, deal.take(deal.epoch(0, 0)[0], 0, 0), dtype) if compiled else model
    step = 0
    for epoch in count():
        for numbers in deal.epoch(0, epoch):
            padded = deal.take(numbers, 0, step)
            optim.set_rate(optimizer, step, 10_000)
            with casting(device, dtype):
                loss = call(*padded)
            loss.backward()
            optim.clip_gradients(model)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            yield len(numbers)


def theirs(args: argparse.Namespace, dtype: torch.dtype, gate: Gate) -> None:
    """The Trainer as its users write it, with a callback that waits at the gate after every step."""
    from transformers import (
        AutoTokenizer,
        DataCollatorWithPadding,
        ElectraConfig,
        ElectraForSequenceClassification,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    class Wait(TrainerCallback):
        def on_train_begin(self, *_args: object, **_state: object) -> None:
            gate.open()

        def on_step_end(self, *_args: object, **_state: object) -> None:
            gate.step(BATCH)

    Compute().start()
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    first, second, labels = texts(args)
    encoded = tokenizer(first, second, truncation=True, max_length=LENGTH)
    rows = [{**{k: encoded[k][i] for k in encoded}, "labels": labels[i]} for i in range(len(labels))]
    of = SIZES[args.size]
    config = ElectraConfig(
        vocab_size=len(tokenizer), embedding_size=of.embedding, hidden_size=of.hidden, intermediate_size=of.ffn,
        num_hidden_layers=of.layers, num_attention_heads=of.heads, num_labels=len(set(labels)),  # pyright: ignore[reportCallIssue]
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            per_device_train_batch_size=BATCH,
            learning_rate=LR,
            max_steps=10**6,
            bf16=dtype == torch.bfloat16,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        Trainer(
            ElectraForSequenceClassification(config),
            settings,
            data_collator=DataCollatorWithPadding(tokenizer),
            train_dataset=rows,
            callbacks=[Wait()],
        ).train()


def work(args: argparse.Namespace) -> None:
    """A worker."""
    gate = Gate()
    if args.worker.startswith("transformers"):
        theirs(args, torch.bfloat16 if args.worker.endswith("bf16") else torch.float32, gate)
    else:
        gate.open()
        for rows in ours(args, args.worker.endswith("compiled")):
            gate.step(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a table (parquet, csv, json) with texts and labels")
    parser.add_argument("--tokenizer", required=True, help="folder or name of the tokenizer")
    parser.add_argument("--text", default="sentence")
    parser.add_argument("--second", default="")
    parser.add_argument("--label", default="label")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=25, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args)
    native = Compute().precision(Compute().start()) == torch.bfloat16
    variants = [name for name in VARIANTS if native or not name.endswith("bf16")]
    command = [sys.executable, __file__, *sys.argv[1:], "--worker"]
    figures = Turns(command, variants, warm=args.steps).run(args.rounds, args.steps)
    print(table(figures, "examples"))
    best = max(value.rate for name, value in figures.items() if name.startswith("transformers"))
    own = max(value.rate for name, value in figures.items() if name.startswith("electrain"))
    print(f"the best of ours to the best of transformers: {own / best:.2f} times its examples a second")
    if args.out:
        report = {
            "what": "examples a second of fine-tuning, interleaved, median of rounds",
            "variants": {name: value._asdict() for name, value in figures.items()}, "ratio_to_trainer": own / best,
            "size": args.size, "batch": BATCH, "longest": LENGTH, "data": "/".join(args.data.parts[-2:]),
            "rounds": args.rounds, "steps": args.steps, "date": time.strftime("%Y-%m-%d"), "machine": machine(),
            "versions": versions(),
        }  # fmt: skip
        args.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
