"""The control plane of tuningjob: the kopf operator and the results service.

Never imports scikit-learn, numpy or user code, and never unpickles anything.
"""
