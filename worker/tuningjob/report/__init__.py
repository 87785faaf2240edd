"""What came of a search, for people: a verdict in words, advice, and a page of figures.

Pure: ``table`` is the results as arrays, ``verdict`` and ``advice`` are functions of it, ``text`` writes them down.
Nothing here knows a manifest, a journal or a file, so that a notebook's search is told of in the same words as a cluster's.
"""
