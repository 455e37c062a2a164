"""bivit.cli."""
