"""What a GPU makes of electrain: parity, checks of the compiled step, a table of speeds, a profile, a real run.

    bash benchmarks/gpu.sh OUT [--data FOLDER] [--minutes 9] [--dry]

Parts, in this order, each in a process of its own and written to OUT as soon as it is known:

    machine  machine.json   what it is, its matrix rate in bf16, its memory's bandwidth
    parity   parity.json    one joint ELECTRA-Small step on the GPU against the CPU's
    graph    graph.json     one graph, compiled once, no wait for the device, which kernels; profile.txt
    table    table.json     tokens a second and peak memory, ours and transformers', most important rows first
    run      run.json       electra_small on --data in OUT/run, for what time is left, as a user's run would be

and summary.json of them all. The same command goes on: what is finished is kept as long as code and machine are the
same, the table does further rows, the run takes further steps. --dry: the same on the CPU, with tiny shapes.
"""

import argparse
import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from gpu.report import Report, last_line, read, stamp

ROOT = Path(__file__).resolve().parent.parent
LIMITS = {"machine": 90.0, "parity": 120.0, "graph": 240.0, "table": 3600.0, "run": 3600.0}  # seconds at most
FEWEST = {"machine": 5.0, "parity": 5.0, "graph": 20.0, "table": 20.0, "run": 40.0}  # with less it is not begun
GRACE = 40.0  # for a part that is asked to end
RESERVE = 0.25  # share of the time that is kept for the run, where there is data


class Asked(Exception):
    """Someone asked the whole command to end."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", metavar="OUT", help="folder of the results and of the run")
    parser.add_argument("--data", type=Path, help="folder that `electrain prepare` made, for the run")
    parser.add_argument("--minutes", type=float, default=9.0, help="of the whole")
    parser.add_argument("--dry", action="store_true", help="tiny shapes on the CPU")
    parser.add_argument("--part", choices=LIMITS, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--stamp", default="", help=argparse.SUPPRESS)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part or args.contestant:
        return inside(args)
    if args.out is None:
        parser.error("name the folder of the results")
    return conduct(args)


def inside(args: argparse.Namespace) -> int:
    """A process of this program: a part, or a contestant of the table."""
    import torch
    from gpu import graph, machine, parity, setting, table, training_run

    if args.dry:  # the compiler's front end alone: its back end takes minutes on a CPU
        backend = "aot_eager" if args.part == "graph" else "eager"
        torch.compile = functools.partial(torch.compile, backend=backend)
    where = setting.choose(args.dry)
    if args.contestant:
        from gpu import contestant

        contestant.work(where, args.contestant)
        return 0
    report = Report(args.out / f"{args.part}.json", args.stamp)
    if args.part == "run":
        training_run.make(where, report, args.out, args.data, args.seconds)
    elif args.part == "table":
        table.measure(where, report, args.seconds, [sys.executable, __file__, *["--dry"][: args.dry], "--contestant"])
    else:
        {"machine": machine, "parity": parity, "graph": graph}[args.part].measure(where, report)
        report.add(done=True)
    return 0


def conduct(args: argparse.Namespace) -> int:
    """Have the parts done one after the other, in the time that there is."""
    from gpu.summary import summarize, table

    began = time.monotonic()
    args.out.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ask)
    mark = stamp(ROOT, args.dry)
    names = [name for name in LIMITS if name != "run" or args.data or args.dry]
    failed = []
    try:
        for name in names:
            left = 60 * args.minutes - (time.monotonic() - began)
            if "run" in names and name != "run":
                left -= RESERVE * 60 * args.minutes
            known = read(args.out / f"{name}.json")
            if known.get("done") and known.get("stamp") == mark and name != "run":
                _tell(f"{name}: kept from before")
            elif left < FEWEST[name]:
                _tell(f"{name}: no time left; the same command goes on")
            elif not part(name, args, mark, min(left, LIMITS[name])):
                failed.append(name)
                if name == "machine":  # without one there is nothing to measure
                    break
    except Asked:
        failed.append("asked to end")
    summary = summarize(args.out, mark, time.monotonic() - began, failed)
    print("\n".join(table(summary)))
    return 1 if failed or not summary["pass"] else 0


def part(name: str, args: argparse.Namespace, mark: str, seconds: float) -> bool:
    """One part in a process of its own, its words in OUT/log.txt; whether it ended well."""
    began = time.monotonic()
    command = [sys.executable, __file__, str(args.out), "--part", name, "--seconds", f"{seconds:.1f}", "--stamp", mark]
    command += (["--data", str(args.data)] if args.data else []) + ["--dry"][: args.dry]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    if args.dry:
        environment |= {"CUDA_VISIBLE_DEVICES": "", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    log = args.out / "log.txt"
    with log.open("a") as file:
        print(f"\n--- {name}", file=file, flush=True)
        # A session of its own: what the part starts ends with it.
        child = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
        try:
            child.wait(timeout=seconds + (GRACE if name == "run" else 5.0))  # the run itself ends in time
        except subprocess.TimeoutExpired:
            pass
        finally:
            cut = child.poll() is None
            _end(child)
    took = time.monotonic() - began
    if child.returncode == 0:
        _tell(f"{name}: {took:.0f} s")
        return True
    why = f"cut off after {took:.0f} s" if cut else f"exit code {child.returncode}: {last_line(log)}"
    Report(args.out / f"{name}.json", mark).add(failed=why, done=False)
    _tell(f"{name}: {why}")
    return name == "table" and cut  # its finished rows stand


def _end(child: subprocess.Popen) -> None:
    """Ask a part to end, wait, then end all that it started."""
    if child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=GRACE)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing of it is left
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _ask(_number: int, _frame: FrameType | None) -> None:
    raise Asked


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
