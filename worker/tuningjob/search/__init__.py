"""The search itself: it makes scikit-learn's objects from a spec, evaluates cells in processes, and makes scikit-learn's results.

It runs the same in a worker pod and on a laptop. Importing it imports scikit-learn.
"""
