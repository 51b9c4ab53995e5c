"""Benchmarks. Absolute numbers mean nothing on shared machines: every figure stands beside a peer of the same run."""
