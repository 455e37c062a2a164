"""The compiler: from a network's shape to a program, its words in memory, its cycles, and what it must write."""
