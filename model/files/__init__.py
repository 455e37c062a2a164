"""Checkpoints, and the export to an integer network."""
