"""Question answering by extraction: SQuAD 1.1 and 2.0, MRQA, and any set in their layout."""
