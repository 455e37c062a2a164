"""The integer network: shapes, formats, tensors, taps, its file, and what every implementation takes and returns."""
