"""Our own answers: what a visitor or a program gets when no backend answers."""

from router.pages.negotiation import wants_html
from router.pages.page import Page, Pages

__all__ = ["Page", "Pages", "wants_html"]
