"""Live runs under `mkdocs serve`: the lab's engine behind a route of the served site."""
