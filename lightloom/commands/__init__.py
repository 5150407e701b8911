"""The commands of `lightloom`, one module per group."""
