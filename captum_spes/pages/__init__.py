"""Pages that need nothing else: one file with pictures, sound and what moves them."""

from captum_spes.pages.images import encoded_image
from captum_spes.pages.page import page_html

__all__ = ["encoded_image", "page_html"]
