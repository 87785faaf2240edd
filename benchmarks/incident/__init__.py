"""The incident again: what a search on the same node does to the latency of a neighbour's web service.

``open_loop`` and ``neighbour`` run in pods, as files of a ConfigMap, and need nothing but Python. ``arms`` has the searches that
stand beside the neighbour, ``ratios`` the statistics (pure), ``__main__`` the command.
"""
