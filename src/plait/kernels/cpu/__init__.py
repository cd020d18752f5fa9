"""Kernels for CPUs: source written from programs, compiled by numba, and the loops over time."""
