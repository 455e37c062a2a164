"""A network on a dataflow engine: its slot table, the words of all memories, and what must come out."""
