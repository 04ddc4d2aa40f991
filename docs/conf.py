"""Sphinx' configuration: `make docs` writes the site to docs/_build."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[1]))

import keras_wrn

project = "keras_wrn"
author = "the authors of keras_wrn"
release = version = keras_wrn.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "runs", "pictures"]
html_theme = "furo"
html_title = "keras_wrn"
html_show_sourcelink = False
html_show_copyright = False
html_copy_source = False
html_static_path = ["site"]
html_css_files = ["site.css"]
# The default of dark pages underlines each imported name.
pygments_dark_style = "github-dark"
# Blocks that name no language are commands.
highlight_language = "bash"
templates_path = []
# Docstrings are Google's style, with Markdown's single backquotes.
default_role = "code"
napoleon_numpy_docstring = False
napoleon_use_rtype = False  # types live in signatures
napoleon_custom_sections = [("Input and output", "params_style"), "Source", "Differs", "Input"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
maximum_signature_line_length = 80
add_module_names = False
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_merge_streams = True
nb_render_markdown_format = "myst"
nb_execution_timeout = 300
nb_execution_raise_on_error = True

# A page for each published network, from the README that stands beside its weights.
PUBLISHED = Path(__file__).with_name("published")
PUBLISHED.mkdir(exist_ok=True)
for old in PUBLISHED.glob("*.md"):
    old.unlink()
for readme in sorted(Path(__file__).parents[1].glob("saved_models/*/README.md")):
    folder = readme.parent
    # Without the head that the Hugging Face Hub reads.
    text = readme.read_text(encoding="utf-8").partition("\n---\n")[2].lstrip()
    title, _, rest = text.partition("\n")
    kept = [line for line in rest.split("\n") if not line.startswith("![")]
    curves = f"![Learning curves of {title[2:]}](../../saved_models/{folder.name}/curves.png)"
    page = PUBLISHED / f"{folder.name}.md"
    page.write_text("\n".join([title, "", curves, *kept]), encoding="utf-8")
