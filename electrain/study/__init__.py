"""Studies: several recipes at equal operations, one table."""
