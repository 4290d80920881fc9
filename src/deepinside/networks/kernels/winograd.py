"""Winograd's convolution F(4×4, 3×3): a quarter of the multiplications of a 3×3 convolution without a stride.

Lavin & Gray 2015, "Fast Algorithms for Convolutional Neural Networks". The products of the transformed tiles are one
1×1 convolution by oneDNN, whose groups are the 36 lines of a tile.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from deepinside.networks.kernels import tiles
from deepinside.networks.kernels.compiled import lines, share_threads
from deepinside.networks.kernels.layout import LAYOUT

BLOCK = 3 * 2**20
"""Values of one block's tiles and their products, 12 MiB: a processor's last cache holds them and the filters."""


class Winograd:
    """A 3×3 convolution of (N, C, H, W) without a stride or dilation, with an optional fused ReLU. Float32, on a CPU.

    The work is divided into blocks that fit into the cache.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, padding: tuple[int, ...], groups: int) -> None:
        self.weight, self.outputs, self.padding = weight, len(weight), (padding[0], padding[1])
        self.place = ((0, 0), (1, 1), (1, 1), tiles.LINES * groups)  # padding, stride, dilation, groups
        self.bias = np.zeros(len(weight), np.float32) if bias is None else bias.detach().numpy()
        self._packed: dict[bytes, Tensor] = {}
        self._by_shape: dict[tuple[int, ...], Tensor] = {}

    def __call__(self, x: Tensor, rectified: bool = False) -> Tensor:
        share_threads()
        x = x.detach().contiguous(memory_format=LAYOUT)
        grid = TileGrid.of(x.shape, self.padding, self.outputs)
        found = torch.empty((len(x), self.outputs, *grid.size), memory_format=LAYOUT)
        # the images of a block as one tall image: the few tiles of a small image make a slow product
        tall = (1, tiles.LINES * x.shape[1], grid.images * grid.rows, grid.columns)
        spread = torch.empty(tall, memory_format=LAYOUT)
        for image, row in grid.blocks:
            images = slice(image, image + grid.images)
            self._block(x[images], spread, found[images], grid, row, np.float32(0 if rectified else -np.inf))
        return found

    def filters(self, maps: tuple[int, ...]) -> Tensor:
        """The transformed filters, packed for maps of this shape. oneDNN has two or three packings; each is kept once.

        With another packing, oneDNN would repack them every time, which takes ten times as long as the product.
        """
        if maps not in self._by_shape:
            packed = torch.ops.mkldnn._reorder_convolution_weight(transformed(self.weight), *self.place, maps)
            kind = bytes(torch.ops.mkldnn._get_mkldnn_serialized_md(packed).tolist())
            self._by_shape[maps] = self._packed.setdefault(kind, packed)
        return self._by_shape[maps]

    def _block(self, x: Tensor, spread: Tensor, found: Tensor, grid: "TileGrid", row: int, least: np.float32) -> None:
        """Write the outputs of a few images, from a row of tiles on."""
        strip = (row, grid.rows, grid.columns)
        tiles.spread(lines(x), (x.shape[2], x.shape[3]), self.padding, strip, lines(spread, tiles.LINES))
        products = torch.ops.mkldnn._convolution_pointwise(
            spread, self.filters(tuple(spread.shape)), None, *self.place, "none", [], ""
        )
        tiles.gather(lines(products, tiles.LINES), grid.size, strip, self.bias, least, lines(found))


class TileGrid(NamedTuple):
    """The division of a batch into blocks of the same shape: `rows` rows of `columns` tiles, of `images` images.

    Whether an image is divided does not depend on the batch. Blocks may overlap. If a block can hold two images, it has
    a single one only if the batch is that image.
    """

    images: int
    rows: int
    columns: int
    size: tuple[int, int]
    """Height and width of the output."""
    blocks: tuple[tuple[int, int], ...]
    """By block: the first image and the first row of tiles."""

    @classmethod
    @cache
    def of(cls, batch: torch.Size, padding: tuple[int, int], outputs: int) -> "TileGrid":
        """The division for inputs of shape `batch` (N, C, H, W)."""
        height, width = (extent + 2 * pad - 2 for extent, pad in zip(batch[2:], padding, strict=True))
        all_rows, columns = -(-height // tiles.SIDE), -(-width // tiles.SIDE)
        of_row = columns * tiles.LINES * (batch[1] + outputs)
        rows, tops = divided(all_rows, BLOCK // of_row)
        images, firsts = divided(batch[0], BLOCK // (of_row * rows) if rows == all_rows else 1)
        return cls(images, rows, columns, (height, width), tuple((first, top) for first in firsts for top in tops))


def divided(count: int, most: int) -> tuple[int, list[int]]:
    """The length of equal parts of at most `most` (at least 1) items, and their starts; the last may overlap."""
    parts = -(-count // max(1, most))
    length = -(-count // parts)
    return length, [min(part * length, count - length) for part in range(parts)]


def transformed(weight: Tensor) -> Tensor:
    """G g Gᵀ of filters (K, C, 3, 3), as filters (36 K, C, 1, 1)."""
    matrix = torch.tensor(tiles.FILTER_WEIGHTS, dtype=torch.float64)
    found = (matrix @ weight.double() @ matrix.T).permute(2, 3, 0, 1).reshape(-1, weight.shape[1], 1, 1)
    return found.to(weight.dtype)
