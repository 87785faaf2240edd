"""The engine: scikit-learn's scores to the bit, with the work that candidates have in common done once.

``Engine`` evaluates cells of a ``Work``; ``search_cv`` has scikit-learn's search classes on top of it. What may be shared is
said in ``rules``, one a file; ``memo`` shares what comes before a pipeline's last step; ``schedule`` decides what is next.
"""

from tuningjob.engine.engine import Engine, one_thread
from tuningjob.engine.evaluate import AtWork, Evaluated
from tuningjob.engine.work import CellKey, Work, held_bytes

__all__ = ["AtWork", "CellKey", "Engine", "Evaluated", "Work", "held_bytes", "one_thread"]
