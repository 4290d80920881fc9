"""When compiled functions are used."""

import subprocess
import sys

import pytest
import torch

from deepinside.networks.kernels import late

FIRST = """
import sys, torch
from deepinside.networks.kernels import late
from deepinside.networks.kernels.norm import CrossChannelNorm
from deepinside.networks.kernels.pooling import MaxPooling
x = torch.randn(2, 8, 6, 6)
norm, pooling = CrossChannelNorm(torch.nn.LocalResponseNorm(5)), MaxPooling(2)
before = pooling(norm(x))
assert "numba" not in sys.modules
late.ENOUGH = 0
assert torch.equal(pooling(norm(x)), before)
assert "numba" in sys.modules
"""


def test_a_little_work_does_not_wait_for_numba() -> None:
    subprocess.run([sys.executable, "-c", FIRST], check=True, timeout=120)


@pytest.mark.parametrize(
    ("x", "pays"),
    [
        (torch.zeros(1, 2, 3, 4), True),
        (torch.zeros(1, 2, 3, 4, dtype=torch.bfloat16), True),
        (torch.zeros(1, 2, 3, 4, dtype=torch.float64), False),
        (torch.zeros(2, 3, 4), False),
        (torch.zeros(1, 2, 3, 4, device="meta"), False),
    ],
)
def test_only_what_can_be_compiled_is(x: torch.Tensor, pays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "ENOUGH", 0)
    assert late.compiled_pays(x) is pays
