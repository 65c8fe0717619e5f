"""`electrain prepare` against the bare tokenizer on the same texts, on all cores; or its memory, for a long text.

The bare tokenizer (`tokenizers`, encode_batch on texts that are in memory already, with all its threads) and the whole
command (start, reading, tokenizing, checksums, writing) work in turn; figures are medians over rounds. What the command
takes for next to no text, its start and end, is timed too, in the same rounds.

    python benchmarks/prepare.py --corpus TEXT.txt --out benchmarks/results/NAME.json
    python benchmarks/prepare.py --memory --out benchmarks/results/NAME.json
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from electrain.start import machine, versions

LAYOUT = ["--documents", "blank-lines"]
WORDS, DOCUMENT, SENTENCE = 50_000, 400, 17  # made-up words; words of a document, of a sentence
SYLLABLES = [a + b + c for a in "bdfgklmnprstvw" for b in "aeiou" for c in ("", "n", "r", "s", "l")]
MIB = 2**20


def made_up(path: Path, size: int, seed: int = 0) -> None:
    """About so many bytes of documents between blank lines, written as they are made: words as frequent as 1/rank."""
    random = np.random.default_rng(seed)
    parts = [random.integers(0, len(SYLLABLES), count) for count in random.integers(1, 5, WORDS)]
    words = np.array(["".join(SYLLABLES[part] for part in word) for word in parts])
    share = np.cumsum(1 / np.arange(1, WORDS + 1))
    written = 0
    with open(path, "w", encoding="utf-8") as file:
        while written < size:
            drawn = np.searchsorted(share, random.random(DOCUMENT) * share[-1]).clip(max=WORDS - 1)
            said = words[drawn].tolist()
            lines = [" ".join(said[start : start + SENTENCE]) + "." for start in range(0, DOCUMENT, SENTENCE)]
            written += file.write("\n".join(lines) + "\n\n")


class Watched:
    """A command with all processes that it starts, looked at in /proc now and then while it runs.

    seconds:   of the clock
    processor: seconds of all processes' work
    peak_mib:  the most that all of them held together, resident; memory that they share counts for each. By what
               `phase` called the moment
    """

    def __init__(self, command: list[str], phase=lambda: "all", every: float = 0.1):
        self.peak_mib: dict[str, float] = {}
        self.processes = 0
        ended, spent = threading.Event(), {}
        began = time.perf_counter()
        with tempfile.TemporaryFile("w+") as said:
            running = subprocess.Popen(command, stdout=said, stderr=said)

            def watch() -> None:
                while not ended.wait(every):
                    name, held = phase(), 0.0
                    found = list(family(running.pid))
                    for pid in found:
                        work, resident = state(pid)
                        spent[pid] = max(work, spent.get(pid, 0.0))
                        held += resident / MIB
                    self.peak_mib[name] = max(held, self.peak_mib.get(name, 0.0))
                    self.processes = max(self.processes, len(found))

            watcher = threading.Thread(target=watch)
            watcher.start()
            code = running.wait()
            self.seconds = time.perf_counter() - began
            ended.set()
            watcher.join()
            if code:
                said.seek(0)
                raise SystemExit(said.read()[-2000:])
        self.processor = sum(spent.values())


def family(root: int) -> set[int]:
    """A process and all that descend from it."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def state(pid: int) -> tuple[float, int]:
    """Seconds of work, and resident bytes; nothing of a process that has just ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0, 0
    work = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return work, int(fields[21]) * os.sysconf("SC_PAGE_SIZE")


def command(text: Path, out: Path, tokenizer: Path | None) -> list[str]:
    given = ["--tokenizer", str(tokenizer)] if tokenizer else []
    return [sys.executable, "-m", "electrain", "prepare", "--corpus", str(text), "--out", str(out), *given, *LAYOUT]


def texts_of(path: Path) -> list[str]:
    """The documents as `prepare` reads them."""
    from electrain.data.corpus import Layout, list_files
    from electrain.data.pieces import cut
    from electrain.data.reading import Rules, Tally, read

    layout = Layout(documents="blank-lines")
    pieces = [piece for task in cut([list_files(str(path), layout)], layout) for piece in task]
    return [text for piece in pieces for text in read(piece, layout, Rules(), Tally())]


def rate(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Rounds of the bare tokenizer, its quicker call that leaves out places in the text, and the command."""
    from electrain.data.tokenizer import encoder_of

    text, little = args.corpus or folder / "text.txt", folder / "little.txt"
    if not args.corpus:
        made_up(text, args.size)
    made_up(little, 10_000)
    tokenizer = args.tokenizer
    if tokenizer is None:
        subprocess.run(command(text, folder / "first", None), check=True, stdout=subprocess.DEVNULL)
        tokenizer = folder / "first" / "tokenizer"
    texts = texts_of(text)
    size = sum(len(text.encode()) for text in texts)
    core = encoder_of(tokenizer / "tokenizer.json")

    def bare(call) -> tuple[float, float]:
        began, worked = time.perf_counter(), time.process_time()
        for start in range(0, len(texts), args.batch):
            call(texts[start : start + args.batch], add_special_tokens=False)
        return time.perf_counter() - began, time.process_time() - worked

    def ours(given: Path, out: Path) -> tuple[float, float]:
        done = Watched(command(given, out, tokenizer))
        return done.seconds, done.processor

    contestants = {
        "tokenizers encode_batch": lambda number: bare(core.encode_batch),
        "tokenizers encode_batch_fast": lambda number: bare(core.encode_batch_fast),
        "electrain prepare": lambda number: ours(text, folder / f"out{number}"),
        "electrain prepare, 10 KB of text": lambda number: ours(little, folder / f"little{number}"),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for number in range(args.rounds):
        for name, call in contestants.items():
            times[name].append(call(number))
        print(f"round {number + 1} of {args.rounds}", flush=True)
    variants = {}
    print(f"{'':<34}{'seconds':>10}{'low':>8}{'high':>8}{'MB/s':>8}{'work, s':>10}")
    for name, found in times.items():
        seconds, work = ([one[part] for one in found] for part in (0, 1))
        middle = statistics.median(seconds)
        variants[name] = {
            "seconds": middle, "lowest": min(seconds), "highest": max(seconds),
            "processor_seconds": statistics.median(work),
        }  # fmt: skip
        print(
            f"{name:<34}{middle:>10.2f}{min(seconds):>8.2f}{max(seconds):>8.2f}{size / middle / 1e6:>8.2f}"
            f"{statistics.median(work):>10.2f}"
        )
    ratios = [ours[0] / bare[0] for ours, bare in zip(times["electrain prepare"], times[BARE], strict=True)]
    ratio = statistics.median(ratios)
    more = variants["electrain prepare"]["processor_seconds"] / variants[BARE]["processor_seconds"]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"the whole command takes {ratio:.2f} times the bare tokenizer's time ({spread}), {more:.2f} times its work")
    return {
        "what": "seconds of electrain prepare and of the bare tokenizer, same texts, interleaved, median of rounds",
        "bytes": size, "documents": len(texts), "text": "given" if args.corpus else "made up", "rounds": args.rounds,
        "cores": len(os.sched_getaffinity(0)), "variants": variants, "ratio_to_bare_tokenizer": ratio,
        "ratio_lowest": min(ratios), "ratio_highest": max(ratios), "ratio_of_work": more,
    }  # fmt: skip


BARE = "tokenizers encode_batch"


def memory(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Peaks for a text and one that is longer, each made on the spot, prepared with a tokenizer of its own."""
    found = {}
    for size in args.sizes:
        text, out = folder / "text.txt", folder / "out"
        made_up(text, size)
        bare = out / "tokenizer"
        done = Watched(
            command(text, out, None), lambda bare=bare: "tokenizing" if bare.exists() else "training the tokenizer"
        )
        manifest = json.loads((out / "manifest.json").read_text())
        found[str(size)] = {
            "peak_mib": done.peak_mib, "seconds": done.seconds, "processor_seconds": done.processor,
            "processes": done.processes, "tokens": manifest["summary"]["tokens"],
        }  # fmt: skip
        peaks = ", ".join(f"{name} {peak:,.0f} MiB" for name, peak in done.peak_mib.items())
        print(f"{size / 1e6:,.0f} MB of text: peak {peaks}; {done.seconds:,.0f} s", flush=True)
        subprocess.run(["rm", "-r", str(out), str(text)], check=True)
    return {
        "what": "peak resident memory of electrain prepare and its workers, by bytes of text",
        "cores": len(os.sched_getaffinity(0)), "sizes": found,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, help="a text file, documents between blank lines; else one is made up")
    parser.add_argument("--size", type=int, default=50_000_000, help="bytes of the text that is made up")
    parser.add_argument("--tokenizer", type=Path, help="folder of the tokenizer; else one is trained on the text")
    parser.add_argument("--batch", type=int, default=1000, help="texts that the bare tokenizer is given at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="peak memory of long texts instead")
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[200_000_000, 2_000_000_000], help="bytes, for --memory"
    )
    parser.add_argument("--out", type=Path, help="write the numbers there as JSON")
    args = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as name:
        report = (memory if args.memory else rate)(args, Path(name))
    report |= {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "versions": versions()}
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
