"""Values and arithmetic: what an event, a commit, a checkpoint and a dataset manifest *are*.

Knows nothing of disks, clocks, randomness, engines or Arrow: time and bytes arrive as arguments.
May import the standard library and ``eventlake.errors`` only.
"""
