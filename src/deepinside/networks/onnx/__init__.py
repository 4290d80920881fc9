"""Passes over an ONNX graph, one concern per file, called in order by `graph.py`; and converters of operators."""
