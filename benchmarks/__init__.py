"""Side-by-side measurements. Each prints a table and keeps its figures under `results/`."""
