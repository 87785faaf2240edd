"""Grids as people published them, our search against scikit-learn's."""
