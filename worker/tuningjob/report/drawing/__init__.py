"""Figures: each an SVG with a title, a sentence that says what is seen, and the numbers as a table."""
