"""What `benchmarks/faults.py` does to runs, folders and disks; one file a kind of fault."""
