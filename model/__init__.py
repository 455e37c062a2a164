"""bivit.model."""
