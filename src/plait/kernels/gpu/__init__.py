"""What runs on a GPU: kernels in Triton, and calls recorded as CUDA graphs."""
