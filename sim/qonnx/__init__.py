"""An integer network as one QONNX graph."""
