"""The edge of the dataflow engine (`sim.flow.edge`): pixels in, patch embedding, last norm, classifier, logits out."""
