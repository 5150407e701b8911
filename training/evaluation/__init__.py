"""Measuring renderers: metrics, benchmarks, baselines side by side, and the bars that must hold."""
