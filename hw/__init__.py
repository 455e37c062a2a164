"""bivit.hw."""
