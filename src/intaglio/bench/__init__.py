"""Codecs side by side, through real files."""
