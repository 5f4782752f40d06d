"""Array work by threads and processes: pools, blocks, reductions, random streams, shared arrays."""
