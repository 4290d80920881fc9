"""Caffe's files: prototxt and caffemodel to ONNX, under Caffe's own layer names."""
