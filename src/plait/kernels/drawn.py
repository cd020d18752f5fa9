"""What an operator draws at random is the same when its work is done again for a gradient."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class RandomState:
    """The state of torch's random numbers, on the CPU and on a device.

    While work is recorded for a GPU, that of the GPU cannot be read, and is left out.
    """

    def __init__(self, device: torch.device) -> None:
        on_gpu = device.type == "cuda" and not torch.cuda.is_current_stream_capturing()
        self.devices = [device] if on_gpu else []
        self.cpu = torch.get_rng_state()
        self.on_devices = [torch.cuda.get_rng_state(one) for one in self.devices]

    @contextmanager
    def again(self) -> Iterator[None]:
        """Within it the same numbers are drawn once more; after it those that are next by now.

        >>> import torch
        >>> from plait.kernels.drawn import RandomState
        >>> before = RandomState(torch.device("cpu"))
        >>> first = torch.rand(3)
        >>> with before.again():
        ...     print(torch.equal(torch.rand(3), first))
        True
        """
        with torch.random.fork_rng(self.devices):
            torch.set_rng_state(self.cpu)
            for device, state in zip(self.devices, self.on_devices, strict=True):
                torch.cuda.set_rng_state(state, device)
            yield


class Given:
    """An operator that is given what `draw` drew, one tensor for each call."""

    def __init__(self, operator: Any, numbers: Iterable[Tensor]) -> None:
        self.operator, self.numbers = operator, iter(numbers)

    def apply(self, x: Tensor, weights: Mapping[str, Tensor], graph: Any) -> Tensor:
        """Apply the operator with the next tensor."""
        return self.operator.apply(x, weights, graph, next(self.numbers))
