"""Running the step of a generation compiled, or as a CUDA graph."""

from collections.abc import Callable
from typing import NamedTuple

import torch

Step = Callable[[int], None]  # its argument: how many steps attention looks at


class Acceleration(NamedTuple):
    """What is done to a step, from outside."""

    compile: bool = False  # by torch.compile: fewer and larger kernels
    cuda_graphs: bool = False  # captured once and replayed: no launch from Python
    bucket: int = 256  # steps that one compilation or capture serves

    def wrap(self, step: Step) -> Step:
        """The step that a generation calls instead."""
        if self.compile:
            # Sizes are kept symbolic: texts, batches and lengths differ from call to call. What
            # still makes a case of its own (guidance, greedy, …) is worth more than 8 of them.
            torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
            step = torch.compile(step, dynamic=True)
        return CapturedStep(step) if self.cuda_graphs else step


class CapturedStep:
    """A step that is captured as a CUDA graph, once for each argument, and replayed from then on.

    The step must read and write the same tensors each time. Its first call for an argument runs as
    it is, so that libraries and compilers do what they do only once outside of a capture.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.graphs: dict[int, torch.cuda.CUDAGraph | None] = {}
        self.pool = None  # the captures never run at once, so they share their memory

    def __call__(self, n_visible: int) -> None:
        if n_visible not in self.graphs:
            self.graphs[n_visible] = None
            self.step(n_visible)
            return
        graph = self.graphs[n_visible]
        if graph is None:
            graph = self.graphs[n_visible] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self.pool):
                self.step(n_visible)
            self.pool = graph.pool()
        graph.replay()
