"""The results of a search for people: a verdict in words, advice, and a page of figures.

The package is pure: ``table`` has the results as arrays, ``verdict`` and ``advice`` are functions of it, ``text`` writes both.
Nothing here knows a manifest, a journal or a file, so a notebook's search is reported in the same words as a cluster's.
"""
