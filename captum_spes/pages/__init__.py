"""Pages that need nothing else: one file with pictures, sound and what moves them."""

from captum_spes.pages.images import encoded_image, frames_per_column
from captum_spes.pages.notebook import ShownUnit, notebook_html
from captum_spes.pages.page import page_html

__all__ = ["ShownUnit", "encoded_image", "frames_per_column", "notebook_html", "page_html"]
