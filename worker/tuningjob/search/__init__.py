"""The search itself: from a spec to scikit-learn's objects, cells evaluated in processes, and scikit-learn's own results.

Runs the same in a worker pod and on a laptop. Importing it imports scikit-learn.
"""
