"""Weights from a memory beside the engine: a master of AXI4 reads, and checks of what it reads."""
