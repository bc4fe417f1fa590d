"""The reference of error codes: every code that an answer of the router can carry, each with its own paragraph.

`docs_url` of an error leads to the paragraph of its code: `render` makes the page that the router serves there by itself,
and `docs/site/` puts the same tables into the documentation.
"""

from router.pages.reference.api import API, NOUNS
from router.pages.reference.diagnoses import DIAGNOSES
from router.pages.reference.edge import CADDY, EDGE
from router.pages.reference.entry import Diagnosis, Entry, Foreign
from router.pages.reference.page import PATH, Code, anchors, codes, render

__all__ = [
    "API",
    "CADDY",
    "DIAGNOSES",
    "EDGE",
    "NOUNS",
    "PATH",
    "Code",
    "Diagnosis",
    "Entry",
    "Foreign",
    "anchors",
    "codes",
    "render",
]
