"""The integer network in plain torch, beside the reference."""
