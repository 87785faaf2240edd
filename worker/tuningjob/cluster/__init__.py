"""A search from Python on a cluster: ``tuningjob.Cluster``, with the rights that the person's kubeconfig has.

What goes there is a manifest, never a pickle; what comes back is text that scikit-learn's own code lays out, and a
model only if one asks for it. The official client (``kubernetes``) is imported in ``access`` alone, when
it is used.
"""
