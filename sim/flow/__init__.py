"""The dataflow: streams of array operations in the order of a table, at times that credits give."""
