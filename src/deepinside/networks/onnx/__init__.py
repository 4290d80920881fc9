"""Passes over an ONNX graph, one concern a file, which `deepinside.networks.surgery` calls in order; and converters."""
