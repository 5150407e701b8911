"""Vetting of strangers' asset files: looked at, imported in a process of their own, and scored."""
