"""The array of the dataflow engine: memories of its operands, the grid, and the ways of its sums to units."""
