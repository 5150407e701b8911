"""How well videos are edited: clips with known truth, edited by us and by hand in 2D, against true renders."""
