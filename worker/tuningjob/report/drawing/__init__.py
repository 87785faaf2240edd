"""Figures: each is an SVG with a title, a sentence that says what it shows, and its numbers as a table."""
