"""Films: relight them, change materials, insert and select objects, and compose and measure the results."""
