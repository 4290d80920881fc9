"""Layers of Caffe's three formats in the current one, as Caffe upgrades them, and the layers of the test phase."""

from collections.abc import Iterable

from deepinside.errors import DeepInsideError
from deepinside.networks.caffe.messages import Message, message_class

V1_TYPES = {
    "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax", "BNLL": "BNLL", "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss", "CONVOLUTION": "Convolution", "DATA": "Data",
    "DECONVOLUTION": "Deconvolution", "DROPOUT": "Dropout", "DUMMY_DATA": "DummyData",
    "EUCLIDEAN_LOSS": "EuclideanLoss", "ELTWISE": "Eltwise", "EXP": "Exp", "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data", "HDF5_OUTPUT": "HDF5Output", "HINGE_LOSS": "HingeLoss", "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData", "INFOGAIN_LOSS": "InfogainLoss", "INNER_PRODUCT": "InnerProduct", "LRN": "LRN",
    "MEMORY_DATA": "MemoryData", "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss", "MVN": "MVN",
    "POOLING": "Pooling", "POWER": "Power", "RELU": "ReLU", "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss", "SILENCE": "Silence", "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss", "SLICE": "Slice", "SPLIT": "Split", "TANH": "TanH",
    "WINDOW_DATA": "WindowData", "THRESHOLD": "Threshold",
}  # fmt: skip
V0_TYPES = {
    "accuracy": "Accuracy", "bnll": "BNLL", "concat": "Concat", "conv": "Convolution", "data": "Data",
    "dropout": "Dropout", "euclidean_loss": "EuclideanLoss", "flatten": "Flatten", "hdf5_data": "HDF5Data",
    "hdf5_output": "HDF5Output", "images": "ImageData", "infogain_loss": "InfogainLoss",
    "innerproduct": "InnerProduct", "lrn": "LRN", "multinomial_logistic_loss": "MultinomialLogisticLoss",
    "pool": "Pooling", "relu": "ReLU", "sigmoid": "Sigmoid", "softmax": "Softmax", "softmax_loss": "SoftmaxWithLoss",
    "split": "Split", "tanh": "TanH", "window_data": "WindowData",
}  # fmt: skip
V0_FIELDS = {
    "Convolution": ("convolution_param", "num_output pad kernelsize:kernel_size group stride biasterm:bias_term"),
    "InnerProduct": ("inner_product_param", "num_output biasterm:bias_term"),
    "Pooling": ("pooling_param", "pool pad kernelsize:kernel_size stride"),
    "LRN": ("lrn_param", "local_size alpha beta k"),
    "Concat": ("concat_param", "concat_dim"),
    "ImageData": ("image_data_param", "new_height new_width"),
}
"""By type the message of its parameters, and its fields: the name in V0, and after a colon the present one."""
V0_TRANSFORM = "scale cropsize:crop_size meanfile:mean_file"
OLD_TRANSFORM = ("scale", "crop_size", "mean_file")


def current_layers(net: Message) -> list[Message]:
    """All layers of a network in the current format."""
    if not net.layers:
        return list(net.layer)
    if any(layer.HasField("layer") for layer in net.layers):
        return without_padding_layers([from_v0(layer) for layer in net.layers])
    return [from_v1(layer) for layer in net.layers]


def from_v1(old: Message) -> Message:
    """A layer of the second format (`layers {}` with a type in capitals)."""
    new = message_class("LayerParameter")(name=old.name, type=V1_TYPES.get(type_name(old), type_name(old)))
    for field, value in old.ListFields():
        if field.name not in ("name", "type", "layer"):
            target = getattr(new, field.name)
            target.extend(value) if isinstance(value, list) or hasattr(value, "extend") else target.CopyFrom(value)
    for data in (old.data_param, old.image_data_param):
        for name in OLD_TRANSFORM:
            if data.HasField(name):
                setattr(new.transform_param, name, getattr(data, name))
    return new


def type_name(old: Message) -> str:
    """The type of a layer of the second format, in capitals."""
    enum = old.DESCRIPTOR.fields_by_name["type"].enum_type
    return str(enum.values_by_number[old.type].name)


def from_v0(old: Message) -> Message:
    """A layer of the first format (`layers { layer {} }`)."""
    flat = old.layer
    new = message_class("LayerParameter")(name=flat.name, type=V0_TYPES.get(flat.type, flat.type))
    new.bottom.extend(old.bottom)
    new.top.extend(old.top)
    new.blobs.extend(flat.blobs)
    if new.type in V0_FIELDS:
        message, fields = V0_FIELDS[new.type]
        _move(flat, getattr(new, message), fields)
    _move(flat, new.transform_param, V0_TRANSFORM)
    if flat.type == "padding":
        new.pooling_param.pad = flat.pad
    return new


def _move(old: Message, new: Message, fields: str) -> None:
    for pair in fields.split():
        name, _, present = pair.partition(":")
        present = present or name
        if not old.HasField(name):
            continue
        if hasattr(getattr(new, present), "append"):
            getattr(new, present).append(getattr(old, name))
        else:
            setattr(new, present, getattr(old, name))


def without_padding_layers(layers: Iterable[Message]) -> list[Message]:
    """Padding layers of the first format as padding of the convolution or pooling that follows."""
    padding: dict[str, Message] = {}
    kept = []
    for layer in layers:
        if layer.type == "padding":
            padding.update(dict.fromkeys(layer.top, layer))
            continue
        for place, name in enumerate(layer.bottom):
            if name in padding:
                layer.bottom[place] = padding[name].bottom[0]
                _pad(layer, padding[name].pooling_param.pad)
        kept.append(layer)
    return kept


def _pad(layer: Message, pad: int) -> None:
    if layer.type == "Convolution":
        layer.convolution_param.pad[:] = [pad]
    elif layer.type == "Pooling":
        layer.pooling_param.pad = pad
    else:
        raise DeepInsideError(
            f"layer {layer.name!r} ({layer.type}) follows a padding layer, but only convolution and pooling may"
        )


def is_in_test_phase(layer: Message) -> bool:
    """Whether a layer is part of the network in Caffe's test phase, at level 0 and without stages."""
    if layer.include:
        return any(_applies(rule) for rule in layer.include)
    return not any(_applies(rule) for rule in layer.exclude)


def _applies(rule: Message) -> bool:
    train = rule.HasField("phase") and rule.phase == 0
    levels = (not rule.HasField("min_level") or rule.min_level <= 0) and (
        not rule.HasField("max_level") or rule.max_level >= 0
    )
    return not train and levels and not rule.stage
