"""Our own answers: what a visitor or a program gets when no backend answers."""

from router.pages.closed_port import why_closed
from router.pages.event_streams import reconnect_after
from router.pages.negotiation import Form, form_of
from router.pages.page import Page, Pages
from router.pages.waiting import PATH as WAKE_PATH
from router.pages.waiting import Progress, Stage
from router.pages.wording import LOG_OUT, LOGGED_OUT, LOGIN_HOST, Notice

__all__ = [
    "LOGGED_OUT",
    "LOGIN_HOST",
    "LOG_OUT",
    "WAKE_PATH",
    "Form",
    "Notice",
    "Page",
    "Pages",
    "Progress",
    "Stage",
    "form_of",
    "reconnect_after",
    "why_closed",
]
