from itertools import pairwise

from deepinside.maths.passes import at_once


def test_sixteen_of_the_papers_size_and_more_of_smaller_ones() -> None:
    sizes = [32, 64, 96, 128, 160, 227, 224, 299, 512]
    numbers = [at_once((size, size)) for size in sorted(sizes)]
    assert at_once((227, 227)) == at_once((224, 224)) == at_once((512, 300)) == 16
    assert at_once((64, 64)) == 160  # the ten crops of a batch of sixteen photos
    assert at_once((128, 128)) == 50
    assert all(smaller >= larger for smaller, larger in pairwise(numbers))
