"""The kernels that run a layer over time, the preferred ones first; the last takes everything."""

from plait.kernels.cpu.kernel import CompiledLoops
from plait.kernels.cpu.phases import CompiledPhases
from plait.kernels.gpu.persistent import TritonLoops
from plait.kernels.gpu.steps import TritonSteps
from plait.kernels.kernel import Kernel
from plait.kernels.reference import Reference
from plait.kernels.torch_native import TorchRecurrence

KERNELS: list[Kernel] = [
    TorchRecurrence("oneDNN"),
    TorchRecurrence("cuDNN"),
    CompiledLoops(),
    CompiledPhases(),
    TritonLoops(),
    TritonSteps(),
    TorchRecurrence("ATen"),
    Reference(),
]
