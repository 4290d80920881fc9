"""The techniques, one file each: pure functions of a network, photos and random streams."""
