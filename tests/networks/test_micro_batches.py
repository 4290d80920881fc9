from itertools import pairwise

from deepinside.networks.micro_batches import micro_batch_size


def test_sixteen_of_the_papers_size_and_more_of_smaller_ones() -> None:
    sizes = [32, 64, 96, 128, 160, 227, 224, 299, 512]
    numbers = [micro_batch_size((size, size)) for size in sorted(sizes)]
    assert micro_batch_size((227, 227)) == micro_batch_size((224, 224)) == micro_batch_size((512, 300)) == 16
    assert micro_batch_size((64, 64)) == 160  # the ten crops of a batch of sixteen photos
    assert micro_batch_size((128, 128)) == 50
    assert all(smaller >= larger for smaller, larger in pairwise(numbers))
