"""What an architecture of the list gives: a module, inputs to export it with, other inputs to run it with."""

from dataclasses import dataclass

import torch


@dataclass
class Axis:
    """An extent that is open, with the values it may have."""

    name: str
    least: int
    most: int


def axis(name, least, most):
    return Axis(name, least, most)


@dataclass
class Entry:
    model: torch.nn.Module
    names: list
    # Inputs the model is exported with, and inputs of other extents that it is run with.
    example: tuple
    inputs: tuple
    # For each input, its open axes.
    axes: list
    outputs: list
