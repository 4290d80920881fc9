"""How time and memory grow with the number of photos, and of steps, over a factor of sixteen."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch

from bench import commands, folder
from bench.photos import jpegs
from bench.timing import Patience, Work

ROUNDS = 3
RESULTS = commands.RESULTS / "growth"


@dataclass(frozen=True)
class Growth:
    """A command whose work is multiplied by 1, 2, 4, 8 and 16."""

    name: str
    title: str
    unit: str
    counts: tuple[int, ...]
    command: Callable[[int], list[str]]

    def record(self, patience: Patience, product: tuple[Work, float]) -> dict[str, Any]:
        """Medians of seconds and largest memory at each count, in turn."""
        rounds = range(min(ROUNDS, patience.most))
        commands.run(self.command(self.counts[0]))  # verifies the network, which the others remember
        costs = [{count: commands.run(self.command(count)) for count in self.counts} for _ in rounds]
        seconds = [statistics.median(costs[i][count].seconds for i in rounds) for count in self.counts]
        memory = [statistics.median(costs[i][count].memory for i in rounds) for count in self.counts]
        found = {
            "title": self.title, "unit": self.unit, "rounds": len(rounds), "ways": {}, "counts": list(self.counts),
            "seconds": seconds, "memory_mib": memory,
        }  # fmt: skip
        return found | {"findings": findings(found)}


def findings(found: dict[str, Any]) -> list[str]:
    """In words: how straight the line of times is, and how flat that of memory."""
    counts, seconds = np.array(found["counts"], float), np.array(found["seconds"])
    slope, start = np.polyfit(counts, seconds, 1)
    off = np.abs(seconds - (start + slope * counts)).max() / seconds.max()
    more = found["memory_mib"][-1] / found["memory_mib"][0]
    return [
        f"{start:.1f} s and {1000 * slope:.2f} ms a {found['unit']}: off that line by {off:.1%} of the largest time",
        f"memory at {counts[-1]:g} is {more:.2f} times that at {counts[0]:g} ({found['memory_mib'][-1]:.0f} MiB)",
    ]


def by_photos() -> Growth:
    """Ten-crop saliency of 64 to 1024 JPEGs."""
    counts = (64, 128, 256, 512, 1024)
    photos = jpegs(counts[-1])
    words = ["technique.crops=ten", "images=none", f"images.root={photos}", f"images.enlarge={folder.ENLARGE}"]

    def command(count: int) -> list[str]:
        return commands.deepinside(RESULTS, torch.get_num_threads(), *words, f"images.limit={count}")

    return Growth("growth_photos", "tinycaffenet: ten-crop saliency of more and more photos", "photo", counts, command)


def by_steps() -> Growth:
    """A class model of 50 to 800 steps."""
    counts = (50, 100, 200, 400, 800)
    words = ["technique=class_model", "images=none", "technique.targets=[lemon,goose,limousine,goldfish]"]

    def command(count: int) -> list[str]:
        threads = torch.get_num_threads()
        return commands.deepinside(RESULTS, threads, *words, f"technique.optimiser.steps={count}")

    return Growth("growth_steps", "tinycaffenet: four class models of more and more steps", "step", counts, command)


def draw(works: dict[str, Any], path: Any) -> None:
    """Times and memory beside each other, a row a quantity."""
    figure, grid = plt.subplots(len(works), 2, figsize=(8, 2.6 * len(works)), layout="constrained", squeeze=False)
    for axes, work in zip(grid, works.values(), strict=True):
        slope, start = np.polyfit(work["counts"], work["seconds"], 1)
        axes[0].plot(work["counts"], start + slope * np.array(work["counts"]), color="#E69F00", label="straight line")
        axes[0].plot(work["counts"], work["seconds"], "o", color="#0072B2", label="measured")
        axes[1].plot(work["counts"], work["memory_mib"], "o-", color="#0072B2")
        axes[0].legend(frameon=False)
        for one, label in zip(axes, ("seconds", "peak memory, MiB"), strict=True):
            one.set_xlabel(f"{work['unit']}s")
            one.set_ylabel(label)
            one.set_ylim(0, 1.1 * one.get_ylim()[1])  # a point at the edge is seen whole
            one.spines[["top", "right"]].set_visible(False)
        axes[0].set_title(work["title"], fontsize=9, loc="left")
    figure.savefig(path, dpi=150)
    plt.close(figure)
