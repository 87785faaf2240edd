"""Pages of searches while they run, and of models: what `tuningjob ui` shows on a laptop, and the results service to a namespace.

Pure, and light enough for the control plane: ``records`` is what is shown, ``pages`` writes it as HTML, ``figures`` as SVG.
"""
