"""The report: gathered, drawn, rendered."""
