"""Pages of running searches and of models: what `tuningjob ui` shows on a laptop, and the results service to a namespace.

The package is pure, and light enough for the control plane: ``records`` has what is shown, ``pages`` writes it as HTML, and
``figures`` draws it as SVG.
"""
