"""Fine-tuning: a pre-trained encoder, a head, a task's rows, and the metrics that judge it."""
