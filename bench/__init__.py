"""Side-by-side benchmarks: both sides of every comparison in one run, on the same servers, interleaved."""
