"""Everything that electrain reads, changed in a million ways: only success or one line for the user may come out.

Valid samples (text, jsonl, parquet, tokenizers, manifests, token files, caches, run folders, transformers folders,
SQuAD, GLUE, CoNLL, tables, BLiMP, predictions) are changed by flipped bits, cuts, splices, exchanged nodes of JSON,
huge and negative numbers, NaN, deep nesting, odd Unicode, NUL, other encodings; commands by exchanged words. Readers
are called in worker processes, so that a hang or a crash is seen; seed, target and number make an input again.

    python benchmarks/fuzz.py --out benchmarks/results/fuzz.json
    python benchmarks/fuzz.py --only squad table --inputs 20000 --seed 7
    python benchmarks/fuzz.py --show squad 123        # that input on standard output, and what comes of it
"""

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

for offline in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
    os.environ[offline] = "1"
for single in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[single] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from fuzz.work import Chunk, Finding, Tally, all_targets, lay, work  # noqa: E402

SECONDS = 4.0  # of a chunk, about
STARTING = 300.0  # seconds that a worker may take to import


@dataclass
class Worker:
    """A process, what it is at, and since when."""

    process: BaseProcess
    pipe: Connection
    now: Any
    chunk: Chunk | None = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_050_000, help="in all, shared out by how fast the readers are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="TARGET", help="some targets; all of --inputs are theirs")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=120.0, help="after which no more inputs are begun")
    parser.add_argument("--limit", type=float, default=30.0, help="seconds for one input")
    parser.add_argument("--show", nargs=2, metavar=("TARGET", "NUMBER"), help="one input, and what comes of it")
    parser.add_argument("--out", type=Path, help="JSON file of the counts")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # by the way that tidies up
    memory = Path("/dev/shm")  # files of an input live for a millisecond: not on a disk where that can be helped
    base = Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        made = multiprocessing.get_context("spawn").Process(target=_world, args=(base / "world",))
        made.start()
        made.join()
        if made.exitcode:
            return 1
        if args.show:
            return show(base, args.seed, args.show[0], int(args.show[1]))
        return conduct(base, args)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _world(folder: Path) -> None:
    from fuzz.world import build

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    build(folder)


def conduct(base: Path, args: argparse.Namespace) -> int:
    """All inputs; the table; the record."""
    from electrain.start import machine, versions

    targets = all_targets(base / "world")
    if unknown := set(args.only or ()) - set(targets):
        raise SystemExit(f"no target {', '.join(unknown)}; there are: {', '.join(targets)}")
    chosen = [target for name, target in targets.items() if not args.only or name in args.only]
    whole = sum(target.inputs for target in chosen)
    counts = {target.name: max(1, round(args.inputs * target.inputs / whole)) for target in chosen}
    sizes = {target.name: max(5, target.inputs // 40) for target in chosen}
    chunks = [
        Chunk(name, first, min(first + sizes[name], count))
        for name, count in counts.items()
        for first in range(0, count, sizes[name])
    ]
    chunks.sort(key=lambda chunk: chunk.last / counts[chunk.target])  # where time runs out, all are as far
    tallies = {target.name: Tally() for target in chosen}
    began = time.monotonic()
    serve(base, chunks, tallies, args)
    total = Tally()
    print(f"{'target':16} {'inputs':>9} {'refused':>9} {'accepted':>9} {'a second':>9}  findings")
    for target in chosen:
        tally = tallies[target.name]
        total.join(tally)
        line = f"{target.name:16} {tally.tried:9,} {tally.refused:9,} {tally.accepted:9,}"
        print(
            f"{line} {tally.tried / max(tally.seconds, 1e-9):9,.0f}  {sum(n for _, n in tally.findings.values()) or ''}"
        )
    seconds = time.monotonic() - began
    print(f"{'all':16} {total.tried:9,} {total.refused:9,} {total.accepted:9,}  in {seconds:,.0f} s")
    findings = [
        {"target": name, **found._asdict(), "times": count}
        for name, tally in tallies.items()
        for found, count in tally.findings.values()
    ]
    for found in findings:
        print(f"\n{found['target']} {found['number']} ({found['times']} times): {found['kind']} in {found['place']}")
        print(f"    {found['message']!r}")
    if args.out is not None:
        record = {
            "what": "benchmarks/fuzz.py: inputs tried, refused in one line, accepted; findings: anything else",
            "seed": args.seed,
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "machine": machine(),
            "versions": versions(),
            "seconds": round(seconds),
            "inputs": total.tried,
            "refused": total.refused,
            "accepted": total.accepted,
            "findings": findings,
            "targets": {
                target.name: {"what": target.what, **{k: getattr(tallies[target.name], k) for k in _COUNTS}}
                for target in chosen
            },
        }
        args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 1 if findings else 0


_COUNTS = ("tried", "refused", "accepted")


def serve(base: Path, chunks: list[Chunk], tallies: dict[str, Tally], args: argparse.Namespace) -> None:
    """Hand chunks to workers. One that hangs or dies is replaced, and its chunk done again around that input."""
    waiting, workers = chunks[::-1], [_start(base, number, args.seed) for number in range(args.workers)]
    began = said = time.monotonic()
    try:
        while waiting or any(worker.chunk for worker in workers):
            if time.monotonic() - began > 60 * args.minutes:
                waiting.clear()
            for number, worker in enumerate(workers):
                if worker.pipe.poll(0.05 if worker.process.is_alive() else 0):
                    try:
                        answer = worker.pipe.recv()
                    except (EOFError, OSError):
                        answer = None
                        worker.process.join()  # its end of the pipe is closed: it is gone
                    if isinstance(answer, Tally) and worker.chunk is not None:
                        tallies[worker.chunk.target].join(answer)
                        worker.chunk = None
                    elif worker.process.is_alive() and waiting and worker.chunk is None:
                        worker.chunk = waiting.pop()
                        worker.pipe.send(worker.chunk)
                wrong = _wrong(worker, args.limit)
                if wrong:
                    worker.process.kill()
                    worker.process.join()
                    if worker.chunk is None:
                        raise SystemExit(f"a worker did not start ({wrong}); see the log in {base}")
                    at, chunk = int(worker.now[0]), worker.chunk
                    tallies[chunk.target].add(Finding(wrong, "", "", at))
                    tallies[chunk.target].tried += 1
                    around = (Chunk(chunk.target, chunk.first, at), Chunk(chunk.target, at + 1, chunk.last))
                    waiting += [part for part in around if part.first < part.last]
                    workers[number] = _start(base, number, args.seed)
            if time.monotonic() - said > 30:
                said = time.monotonic()
                at = ", ".join(worker.chunk.target for worker in workers if worker.chunk)
                print(f"{sum(t.tried for t in tallies.values()):,} inputs; at {at}", file=sys.stderr)
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()


def _start(base: Path, number: int, seed: int) -> Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    now = context.RawArray("d", [0.0, 0.0])
    folder = base / f"worker-{number}"
    process = context.Process(target=work, args=(theirs, now, base / "world", folder, seed), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours, now)


def _wrong(worker: Worker, limit: float) -> str:
    if worker.process.exitcode is not None:
        return f"died ({worker.process.exitcode})"
    since = worker.now[1]
    return "hang" if since and worker.chunk and time.monotonic() - since > limit else ""


def show(base: Path, seed: int, name: str, number: int) -> int:
    """Write an input to standard output, then read it here; a finding's traceback goes to standard error."""
    target = all_targets(base / "world")[name]
    file, content = target.input(seed, number)
    print(f"{name} {number}: {file}, {'not there' if content is None else f'{len(content)} bytes'}", file=sys.stderr)
    sys.stdout.buffer.write(content or b"")
    sys.stdout.buffer.flush()
    folder = base / "here"
    lay(target, folder)
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    try:
        target.call(folder, file)
    except BaseException:  # shown, whatever it is
        print(file=sys.stderr)
        traceback.print_exc()
    return 0


if __name__ == "__main__":
    sys.exit(main())
