"""What units are made of: arithmetic, memories, walks, streams."""
