"""Kernels compiled for a CPU, over the vectors of `simd`."""
