"""Passes over an ONNX graph, one concern a file; `deepinside.networks.surgery` calls them in order."""
