"""How the documentation becomes a site: `make site`. Sphinx's own settings, by its names.

The pages stay where they are read in the repository; Sphinx takes the whole checkout as its source, and of it the pages below.
"""

import re
import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from docs.site.reference import write_reference  # noqa: E402

project = "tuningjob"
copyright = "the maintainers of tuningjob"  # noqa: A001  Sphinx's name
root_doc = "docs/site/index"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
include_patterns = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "docs/**.md",
    "charts/tuningjob/README.md",
    "examples/serving/README.md",
    "benchmarks/results/*.md",
]
exclude_patterns = [".*", "build", "node_modules"]
html_theme = "furo"
html_title = "tuningjob"
html_show_sourcelink = False
html_extra_path = ["extra"]  # the front page, where a visitor begins
html_copy_source = False
# As GitHub makes them, so that a link is good in both places.
myst_heading_anchors = 6
myst_enable_extensions = ["attrs_inline"]
autodoc_typehints = "none"
suppress_warnings = ["misc.highlighting_failure"]  # a sketch may have … where a value stands


def _as_sphinx_takes_it(app: Sphinx, page: str, source: list[str]) -> None:
    """What GitHub knows and Sphinx does not: anchors in HTML, and links to folders, of which only the words are left."""
    folder = (Path(app.srcdir) / page).parent

    def unless_a_folder(link: re.Match[str]) -> str:
        return link[1] if (folder / link[2]).is_dir() else link[0]

    text = re.sub(r'<a id="([\w-]+)"></a>', r"[]{#\1}", source[0])
    source[0] = re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s#]+)\)", unless_a_folder, text)


def _plain(_app: Sphinx, _context: object, lines: list[str]) -> None:
    """A help text is no reStructuredText: ``cv_results_`` is a name there, and no link."""
    lines[:] = [re.sub(r"(\w)_(?!\w)", r"\1\\_", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Write the pages that are generated, before Sphinx looks for pages."""
    app.add_lexer("mermaid", TextLexer)
    app.connect("source-read", _as_sphinx_takes_it)
    for part in ("description", "options", "arguments"):
        app.connect(f"sphinx-click-process-{part}", _plain)
    write_reference(ROOT / "docs" / "site" / "reference")
