"""The parts of benchmarks/fuzz.py: changed inputs, what reads them, and the processes that watch it."""
