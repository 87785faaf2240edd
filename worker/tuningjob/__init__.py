"""tuningjob: GridSearchCV for a shared Kubernetes cluster.

The library: the manifest's models (``spec``), its size (``sizing``), the journal (``journal``), the search itself
(``search``), and the two ways to run one: on a laptop (``local``, ``cli``) and in a pod (``pod``).
"""

__version__ = "0.1.0"
