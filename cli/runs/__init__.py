"""Work of several commands: batches over machines, comparisons, judges, variants."""
