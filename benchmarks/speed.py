"""Ours against the plain loop over transformers: ElectraForMaskedLM + ElectraForPreTraining, same sizes, same batch.

Every variant lives in a process of its own (so that peak memory is its own) and is ready and warm before any is timed.
They are then timed in turn, a few steps each, round after round, so that whatever else the machine does falls on all
alike. The figures are medians over rounds.

    python benchmarks/speed.py --size small --rounds 7 --out benchmarks/results/NAME.json
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn

from electrain.batch import Batch
from electrain.compute import Compute, Step, casting
from electrain.corruptors.joint import Joint
from electrain.encoders.bert import Bert
from electrain.objectives.rtd import Rtd
from electrain.optim.adam import Adam
from electrain.randomness import row_keys
from electrain.start import machine, versions
from electrain.system import System
from electrain.vocab import Vocab

SIZES = {  # encoder, generator width, vocabulary, batch, length
    "tiny": (Bert.Config(layers=4, hidden=128, ffn=512, heads=2, embedding=128), 0.5, 8192, 64, 64),
    "small": (Bert.Config(), 0.25, 30522, 32, 128),
}
VARIANTS = {
    "transformers eager fp32": ("transformers", torch.float32, False),
    "transformers eager bf16": ("transformers", torch.bfloat16, False),
    "transformers compiled fp32": ("transformers", torch.float32, True),
    "transformers compiled bf16": ("transformers", torch.bfloat16, True),
    "electrain eager bf16": ("electrain", torch.bfloat16, False),
    "electrain compiled fp32": ("electrain", torch.float32, True),
    "electrain compiled bf16": ("electrain", torch.bfloat16, True),
}


class Plain(nn.Module):
    """The joint step as one writes it with transformers: logits everywhere, labels of -100, sampling by multinomial."""

    def __init__(self, encoder: Bert.Config, width: float, vocabulary: int):
        from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining

        def config(of: Bert.Config) -> ElectraConfig:
            return ElectraConfig(
                vocab_size=vocabulary, embedding_size=of.embedding, hidden_size=of.hidden, intermediate_size=of.ffn,
                num_hidden_layers=of.layers, num_attention_heads=of.heads, hidden_dropout_prob=of.dropout,
                attention_probs_dropout_prob=of.attention_dropout,
            )  # fmt: skip

        super().__init__()
        self.generator = ElectraForMaskedLM(config(encoder.scaled(width, 1.0)))
        self.discriminator = ElectraForPreTraining(config(encoder))
        self.generator.electra.embeddings = self.discriminator.electra.embeddings
        self.generator.tie_weights()

    def forward(self, ids: torch.Tensor, maskable: torch.Tensor, mask: int) -> torch.Tensor:
        selected = (torch.rand(ids.shape) < 0.15) & maskable
        masked = torch.where(selected & (torch.rand(ids.shape) < 0.85), mask, ids)
        output = self.generator(input_ids=masked, labels=torch.where(selected, ids, -100))
        with torch.no_grad():
            noise = -torch.log(-torch.log(torch.rand(output.logits.shape).clamp(1e-9, 1 - 1e-7)))
            drawn = (output.logits.float() + noise).argmax(-1)
        corrupted = torch.where(selected, drawn, ids)
        labels = (corrupted != ids).long()
        return output.loss + 50.0 * self.discriminator(input_ids=corrupted, labels=labels).loss


def work(size: str, variant: str) -> None:
    """A worker: reads numbers of steps, answers with seconds; at the end of input, with its peak memory."""
    Compute().start()
    kind, dtype, compiled = VARIANTS[variant]
    encoder, width, vocabulary, rows, length = SIZES[size]
    torch.manual_seed(0)
    ids = torch.randint(5, vocabulary, (rows, length))
    ids[:, 0], ids[:, -1] = 2, 3
    cpu = torch.device("cpu")
    if kind == "electrain":
        vocab = Vocab(vocabulary, 0, 1, 2, 3, 4, (0, 2, 3, 4))
        model: nn.Module = System.Config(encoder, Joint.Config(width=width), Rtd.Config(), 50.0).build(vocab)
        optimizer = Adam().build(model)
        call = Step(model, dtype, compiled, lambda line: None)
        real = torch.ones_like(ids, dtype=torch.bool)

        def loss(step: int) -> torch.Tensor:
            keys = row_keys(0, step, torch.arange(rows))
            batch = Batch(ids, torch.zeros_like(ids), real, ids > 4, keys)
            return call(batch, torch.tensor(step / 1000)).loss
    else:
        model = Plain(encoder, width, vocabulary)
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, eps=1e-6, weight_decay=0.01, fused=True)
        run = torch.compile(model, dynamic=False) if compiled else model

        def loss(step: int) -> torch.Tensor:
            with casting(cpu, dtype):
                return run(ids, ids > 4, 4)

    def step(number: int) -> None:
        loss(number).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    done = 0
    for line in sys.stdin:
        began = time.perf_counter()
        for _ in range(int(line)):
            step(done)
            done += 1
        print(json.dumps(time.perf_counter() - began), flush=True)
    status = Path("/proc/self/status").read_text()
    print(json.dumps(int(status.split("VmHWM:")[1].split()[0]) / 1024), flush=True)


def main() -> None:
    """Start the workers, time them in turn, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2, help="steps of a variant in a round")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), help="variants to time")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        work(chosen.size, chosen.worker)
        return
    command = [sys.executable, __file__, "--size", chosen.size, "--worker"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = {name: subprocess.Popen([*command, name], **pipes) for name in chosen.only}

    def ask(name: str, steps: int) -> float:
        stdin, stdout = workers[name].stdin, workers[name].stdout
        assert stdin and stdout
        stdin.write(f"{steps}\n")
        stdin.flush()
        return json.loads(stdout.readline())

    for name in workers:
        print(f"warming up {name}: {ask(name, 1):.0f} s", flush=True)
        ask(name, 2)
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for number in range(chosen.rounds):
        for name in workers:
            seconds[name].append(ask(name, chosen.steps) / chosen.steps)
        print(f"round {number + 1} of {chosen.rounds}", flush=True)
    _, _, _, rows, length = SIZES[chosen.size]
    results = {}
    for name, worker in workers.items():
        assert worker.stdin and worker.stdout
        worker.stdin.close()
        rates = [rows * length / value for value in seconds[name]]
        results[name] = {
            "tokens_per_second": statistics.median(rates),
            "lowest": min(rates),
            "highest": max(rates),
            "peak_mib": json.loads(worker.stdout.readline()),
        }
        worker.wait()
    theirs = [v["tokens_per_second"] for k, v in results.items() if k.startswith("transformers")]
    ours = [v["tokens_per_second"] for k, v in results.items() if k.startswith("electrain")]
    summary = {
        "what": "tokens a second of the joint ELECTRA step, interleaved, median of rounds",
        "size": chosen.size, "batch": rows, "length": length, "rounds": chosen.rounds, "steps": chosen.steps,
        "date": time.strftime("%Y-%m-%d"), "machine": machine(), "versions": versions(), "variants": results,
        "ratio_to_best_transformers": max(ours) / max(theirs) if ours and theirs else None,
    }  # fmt: skip
    print(f"\n{'variant':<30}{'tokens/s':>10}{'low':>8}{'high':>8}{'peak MiB':>10}")
    for name, value in results.items():
        numbers = (value[key] for key in ("tokens_per_second", "lowest", "highest", "peak_mib"))
        print(
            f"{name:<30}"
            + "".join(f"{number:>{width},.0f}" for number, width in zip(numbers, (10, 8, 8, 10), strict=True))
        )
    if summary["ratio_to_best_transformers"]:
        print(f"ratio to the best of transformers: {summary['ratio_to_best_transformers']:.2f}")
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    main()
