"""Names and what is said of each, in two columns."""


def aligned(rows: list[tuple[str, str]]) -> str:
    """A line a row, the values below each other."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)
