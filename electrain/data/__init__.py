"""Data: from text to rows of token ids."""
