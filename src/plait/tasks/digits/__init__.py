"""Moving digits: what two of them, bouncing within a frame, will show next, after GCRN."""
