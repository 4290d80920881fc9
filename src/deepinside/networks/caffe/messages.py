"""The part of Caffe's protocol buffers that classifiers use, and the readers of its text and binary files.

Field numbers and defaults are those of BVLC's caffe.proto. The messages are built at run time, which takes one line a
message and no generated code. Only fields that change what a trained network computes are declared: unknown fields are
allowed, and `undeclared` names those of a prototxt.
"""

import re
from collections.abc import Iterator
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from deepinside.errors import DeepInsideError

Message = Any
"""A protobuf message of a class that is built at run time."""

ENUMS = {
    "Phase": "TRAIN TEST",
    "PoolMethod": "MAX AVE STOCHASTIC",
    "RoundMode": "CEIL FLOOR",
    "EltwiseOp": "PROD SUM MAX",
    "NormRegion": "ACROSS_CHANNELS WITHIN_CHANNEL",
    "LayerType": "NONE ACCURACY BNLL CONCAT CONVOLUTION DATA DROPOUT EUCLIDEAN_LOSS FLATTEN HDF5_DATA HDF5_OUTPUT "
    "IM2COL IMAGE_DATA INFOGAIN_LOSS INNER_PRODUCT LRN MULTINOMIAL_LOGISTIC_LOSS POOLING RELU SIGMOID SOFTMAX "
    "SOFTMAX_LOSS SPLIT TANH WINDOW_DATA ELTWISE POWER SIGMOID_CROSS_ENTROPY_LOSS HINGE_LOSS MEMORY_DATA ARGMAX "
    "THRESHOLD DUMMY_DATA SLICE MVN ABSVAL SILENCE CONTRASTIVE_LOSS EXP DECONVOLUTION",
}
"""Names in the order of their numbers, from 0."""
DATA = "2 scale float 1; 3 mean_file string; 5 crop_size uint32"
FIELDS = {
    "BlobShape": "1 dim int64*",
    # the packed numbers are read as bytes: protobuf makes a Python object of each number, seconds for a large network
    "BlobProto": "1 num int32; 2 channels int32; 3 height int32; 4 width int32; 5 data bytes*; 7 shape BlobShape; "
    "8 double_data bytes*",
    "NetParameter": "1 name string; 3 input string*; 4 input_dim int32*; 8 input_shape BlobShape*; "
    "100 layer LayerParameter*; 2 layers V1LayerParameter*",
    "NetStateRule": "1 phase Phase; 2 min_level int32; 3 max_level int32; 4 stage string*; 5 not_stage string*",
    "LayerParameter": "1 name string; 2 type string; 3 bottom string*; 4 top string*; 10 phase Phase; "
    "7 blobs BlobProto*; 8 include NetStateRule*; 9 exclude NetStateRule*; 100 transform_param TransformationParameter;"
    "139 batch_norm_param BatchNormParameter; 141 bias_param BiasParameter; 104 concat_param ConcatParameter; "
    "106 convolution_param ConvolutionParameter; 107 data_param DataParameter; 110 eltwise_param EltwiseParameter; "
    "140 elu_param ELUParameter; 111 exp_param ExpParameter; 135 flatten_param FlattenParameter; "
    "115 image_data_param ImageDataParameter; 117 inner_product_param InnerProductParameter; "
    "143 input_param InputParameter; 134 log_param LogParameter; 118 lrn_param LRNParameter; "
    "119 memory_data_param MemoryDataParameter; 121 pooling_param PoolingParameter; 122 power_param PowerParameter; "
    "131 prelu_param PReLUParameter; 123 relu_param ReLUParameter; 133 reshape_param ReshapeParameter; "
    "142 scale_param ScaleParameter; 125 softmax_param SoftmaxParameter; 126 slice_param SliceParameter",
    "V1LayerParameter": "1 layer V0LayerParameter; 2 bottom string*; 3 top string*; 4 name string; 5 type LayerType; "
    "6 blobs BlobProto*; 32 include NetStateRule*; 33 exclude NetStateRule*; 36 transform_param TransformationParameter"
    "; 9 concat_param ConcatParameter; 10 convolution_param ConvolutionParameter; 11 data_param DataParameter; "
    "24 eltwise_param EltwiseParameter; 41 exp_param ExpParameter; 15 image_data_param ImageDataParameter; "
    "17 inner_product_param InnerProductParameter; 18 lrn_param LRNParameter; 22 memory_data_param MemoryDataParameter;"
    "19 pooling_param PoolingParameter; 21 power_param PowerParameter; 30 relu_param ReLUParameter; "
    "39 softmax_param SoftmaxParameter; 31 slice_param SliceParameter",
    "V0LayerParameter": "1 name string; 2 type string; 3 num_output uint32; 4 biasterm bool 1; 7 pad uint32; "
    "8 kernelsize uint32; 9 group uint32 1; 10 stride uint32 1; 11 pool PoolMethod; 13 local_size uint32 5; "
    "14 alpha float 1; 15 beta float 0.75; 22 k float 1; 17 scale float 1; 18 meanfile string; 20 cropsize uint32; "
    "50 blobs BlobProto*; 62 new_height int32; 63 new_width int32; 65 concat_dim uint32 1",
    "TransformationParameter": "1 scale float 1; 3 crop_size uint32; 4 mean_file string; 5 mean_value float*; "
    "7 force_gray bool",
    "BatchNormParameter": "1 use_global_stats bool 1; 3 eps float 1e-5",
    "BiasParameter": "1 axis int32 1; 2 num_axes int32 1",
    "ConcatParameter": "1 concat_dim uint32 1; 2 axis int32 1",
    "ConvolutionParameter": "1 num_output uint32; 2 bias_term bool 1; 3 pad uint32*; 4 kernel_size uint32*; "
    "5 group uint32 1; 6 stride uint32*; 9 pad_h uint32; 10 pad_w uint32; 11 kernel_h uint32; 12 kernel_w uint32; "
    "13 stride_h uint32; 14 stride_w uint32; 16 axis int32 1; 18 dilation uint32*",
    "DataParameter": DATA,
    "ImageDataParameter": f"{DATA}; 9 new_height uint32; 10 new_width uint32; 11 is_color bool 1",
    "EltwiseParameter": "1 operation EltwiseOp 1; 2 coeff float*",
    "ELUParameter": "1 alpha float 1",
    "ExpParameter": "1 base float -1; 2 scale float 1; 3 shift float",
    "FlattenParameter": "1 axis int32 1; 2 end_axis int32 -1",
    "InnerProductParameter": "1 num_output uint32; 2 bias_term bool 1; 5 axis int32 1; 6 transpose bool",
    "InputParameter": "1 shape BlobShape*",
    "LogParameter": "1 base float -1; 2 scale float 1; 3 shift float",
    "LRNParameter": "1 local_size uint32 5; 2 alpha float 1; 3 beta float 0.75; 4 norm_region NormRegion; 5 k float 1",
    "MemoryDataParameter": "2 channels uint32; 3 height uint32; 4 width uint32",
    "PoolingParameter": "1 pool PoolMethod; 2 kernel_size uint32; 3 stride uint32 1; 4 pad uint32; 5 kernel_h uint32; "
    "6 kernel_w uint32; 7 stride_h uint32; 8 stride_w uint32; 9 pad_h uint32; 10 pad_w uint32; "
    "12 global_pooling bool; 13 round_mode RoundMode; 14 ceil_mode bool 1",
    "PowerParameter": "1 power float 1; 2 scale float 1; 3 shift float",
    "PReLUParameter": "2 channel_shared bool",
    "ReLUParameter": "1 negative_slope float",
    "ReshapeParameter": "1 shape BlobShape; 2 axis int32; 3 num_axes int32 -1",
    "ScaleParameter": "1 axis int32 1; 2 num_axes int32 1; 4 bias_term bool",
    "SoftmaxParameter": "2 axis int32 1",
    "SliceParameter": "1 slice_dim uint32 1; 2 slice_point uint32*; 3 axis int32 1",
}
"""By message its fields: number, name, type (`*`: repeated) and default."""
TRAINING = (
    "accuracy_param backend base batch_size batchsize bias_filler blob_share_mode blobs_lr channels data_filler "
    "data_param debug_info decay_mult dropout_param dropout_ratio engine exclude filler force_backward hdf5_data_param "
    "include loss_param loss_weight lr_mult max mean min mirror moving_average_fraction name param phase "
    "propagate_down rand_skip root_folder share_mode shuffle source sparse state std top_k type value variance_norm "
    "weight_decay weight_filler ignore_label normalize normalization dummy_data_param force_color "
    "force_encoded_color prefetch level hinge_loss_param norm infogain_loss_param stable_prod_grad force_nd_im2col "
    "relu_engine sigmoid_param tanh_param"
)
"""Fields that change nothing a trained network computes."""
SKIPPED = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|#[^\n]*')
"""Strings and comments of protobuf's text format."""


def message_class(name: str) -> Any:
    """The class of one of the messages in `FIELDS`."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"caffe.{name}"))


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_file().SerializeToString())
    return pool


def read_text(path: Path) -> tuple[Message, list[str]]:
    """The network of a prototxt, and the names of fields in it that are not known; `DeepInsideError` if it is none."""
    try:
        data = path.read_bytes()
        if b"\0" in data:
            raise DeepInsideError(f"{path} is not text: give the prototxt first, then the caffemodel")
        text = data.decode("utf-8-sig", "replace")  # comments may be in any encoding
        return text_format.Parse(text, message_class("NetParameter")(), allow_unknown_field=True), undeclared(text)
    except (OSError, text_format.ParseError, ValueError, RecursionError) as error:
        raise DeepInsideError(f"{path} cannot be read as a prototxt ({first_line(error)}): fetch it again") from None


def undeclared(text: str) -> list[str]:
    """The names of fields in a prototxt that no declared message has and that are not known to matter in training."""
    known = {part.split()[1] for fields in FIELDS.values() for part in fields.split(";")} | set(TRAINING.split())
    names = re.findall(r"([A-Za-z_]\w*)\s*(?::|\{|<)", SKIPPED.sub('""', text))
    return [name for name in dict.fromkeys(names) if name not in known]


def read_binary(path: Path, message: str) -> Message:
    """A message from a binary file; raises `DeepInsideError` unless it is one."""
    try:
        return message_class(message).FromString(path.read_bytes())
    except (OSError, DecodeError, ValueError) as error:
        kind = "caffemodel" if message == "NetParameter" else "binaryproto"
        raise DeepInsideError(f"{path} cannot be read as a {kind} ({first_line(error)}): fetch it again") from None


def array(blob: Message, *, what: str) -> NDArray[np.float32]:
    """The numbers of a blob in its shape; old files have four sizes in separate fields."""
    old = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else old
    kind = np.dtype("<f8") if blob.double_data else np.dtype("<f4")
    data = b"".join(blob.double_data or blob.data)
    if len(data) != prod(shape) * kind.itemsize or min(shape, default=1) < 0:
        raise DeepInsideError(
            f"{what} should be {'×'.join(map(str, shape))} numbers, found {len(data) // kind.itemsize}: "
            f"the file is damaged, fetch it again"
        )
    return np.frombuffer(data, kind).astype(np.float32, copy=False).reshape(shape)


def first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for name, values in ENUMS.items():
        enum = descriptor_pb2.EnumDescriptorProto(name=name)
        for number, value in enumerate(values.split()):
            enum.value.add(name=value, number=number)
        # the names of one scope must differ: each enum has a message of its own
        file.message_type.add(name=f"{name}Scope").enum_type.append(enum)
    for name, fields in FIELDS.items():
        file.message_type.add(name=name).field.extend(_fields(fields))
    return file


def _fields(declared: str) -> Iterator[descriptor_pb2.FieldDescriptorProto]:
    for part in declared.split(";"):
        number, name, kind, *default = part.split()
        base = kind.rstrip("*")
        field = descriptor_pb2.FieldDescriptorProto(name=name, number=int(number))
        field.label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
        if base in FIELDS:
            field.type, field.type_name = field.TYPE_MESSAGE, f".caffe.{base}"
        elif base in ENUMS:
            field.type, field.type_name = field.TYPE_ENUM, f".caffe.{base}Scope.{base}"
        else:
            field.type = getattr(field, f"TYPE_{base.upper()}")
        if default:
            field.default_value = _default(base, default[0])
        yield field


def _default(kind: str, value: str) -> str:
    if kind in ENUMS:
        return ENUMS[kind].split()[int(value)]
    return {"1": "true", "0": "false"}[value] if kind == "bool" else value
