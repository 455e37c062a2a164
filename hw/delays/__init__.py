"""Tables of delays, one a family and speed grade: every figure with its source."""
