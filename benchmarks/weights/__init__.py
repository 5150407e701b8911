"""The weights that the package ships: made from nothing, packed, and described by their cards."""
