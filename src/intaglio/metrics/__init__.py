"""Measures of quality; each docstring gives the equation, the source, the range and which way is better."""
