"""What a backend starts, as plain dicts: pure functions of the plan, printed by a dry run."""
