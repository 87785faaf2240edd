"""The results service: the only way from a worker pod to the journal. HTTP, one token per search, no Kubernetes."""

from tuningjob_operator.service.app import make_app

__all__ = ["make_app"]
