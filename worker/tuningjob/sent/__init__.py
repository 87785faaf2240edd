"""Data and code of a Python process on their way to pods, as files with canonical bytes, known by SHA-256, never pickled."""
