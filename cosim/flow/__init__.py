"""Co-simulation of dataflow engines: what is observed in them, in which order it comes, and a case."""
