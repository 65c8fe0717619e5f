"""What a run would take on many GPUs: memory, time, cost. Computed, not measured."""
