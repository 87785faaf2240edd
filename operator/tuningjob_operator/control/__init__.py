"""What drives the operator: watches, the queue, the pass over one TuningJob, and what carries a decision out."""
