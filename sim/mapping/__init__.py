"""A network on a dataflow engine: the words of all memories, its slot table and cycles, and what must come out."""
