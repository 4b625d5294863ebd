"""Configuration of the site. `make docs` (tools/docs.py) runs Sphinx in a copy of this folder, build/docs/source."""
import os
import pathlib
import sys

ROOT = pathlib.Path(os.environ["BENBEN_ROOT"])
BUILD = pathlib.Path(os.environ["BENBEN_BUILD"])
sys.path[:0] = [str(BUILD / "site"), str(pathlib.Path(__file__).parent / "_ext")]
import benben  # noqa: E402
import benben.numpy  # noqa: E402
import benben.torch  # noqa: E402

for module in (benben, benben.numpy, benben.torch):  # where readers import them from, not the private files
    for name in module.__all__:
        if isinstance(vars(module)[name], type):
            vars(module)[name].__module__ = module.__name__

project = "Benben"
copyright = "the authors of Benben"
version = release = benben.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "breathe", "sphinx_gallery.gen_gallery", "sphinx_copybutton",
              "benben_site", "benchmark_figures"]
exclude_patterns = ["gallery/*/GALLERY_HEADER.rst", "**/*.ipynb", "requirements.txt"]
nitpicky = False

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_copy_empty_lines = False

autodoc_typehints = "none"
autodoc_member_order = "bysource"

breathe_projects = {"benben": str(BUILD / "docs" / "xml")}
breathe_default_project = "benben"
breathe_domain_by_extension = {"h": "c"}
breathe_show_include = False
c_id_attributes = ["BB_API"]

GALLERIES = ["numpy", "torch"]
sphinx_gallery_conf = {
    "examples_dirs": [str(BUILD / "docs" / "examples" / name) for name in GALLERIES],
    "gallery_dirs": [f"gallery/{name}" for name in GALLERIES],
    "filename_pattern": r"\.py$",
    "ignore_pattern": rf"(?:^|/)({os.environ['BENBEN_HELPERS'] or '__init__.py'})$",
    "reset_modules": ("matplotlib", "benben_site.reset"),
    "reset_argv": "benben_site.arguments",
    "abort_on_example_error": False,
    "only_warn_on_example_error": False,
    "within_subsection_order": "FileNameSortKey",
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "thumbnail_size": (480, 300),
    "min_reported_time": 0,
    "matplotlib_animations": False,
    "image_srcset": ["2x"],
    "plot_gallery": "True",
}

html_theme = "furo"
html_title = f"Benben {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#245b85", "color-brand-content": "#245b85"},
    "dark_css_variables": {"color-brand-primary": "#8fc1e6", "color-brand-content": "#8fc1e6"},
}
pygments_style = "tango"
pygments_dark_style = "native"
