"""A search from Python on a cluster: ``tuningjob.Cluster``, with the rights that the person's kubeconfig has.

A manifest goes there, never a pickle. Text comes back, which scikit-learn's own code lays out, and a model only if it is asked
for. Only ``access`` imports the official client (``kubernetes``), when it is used.
"""
