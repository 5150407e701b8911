"""Measured claims: what the guides and reports say in numbers is measured here."""
