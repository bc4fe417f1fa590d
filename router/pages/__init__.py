"""Our own answers: what a visitor or a program gets when no backend answers."""

from router.pages.closed_port import why_closed
from router.pages.event_streams import reconnect_after
from router.pages.negotiation import Form, form_of
from router.pages.page import Page, Pages
from router.pages.waiting import PATH as WAKE_PATH
from router.pages.waiting import Progress, Stage

__all__ = ["WAKE_PATH", "Form", "Page", "Pages", "Progress", "Stage", "form_of", "reconnect_after", "why_closed"]
