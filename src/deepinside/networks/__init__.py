"""Networks: a YAML file declares one; `load` turns its ONNX file into a verified `Network`."""
