"""The memory format of maps and filters."""

import torch

LAYOUT = torch.channels_last  # convolution is no slower, and pooling and LRN find a pixel's channels side by side
