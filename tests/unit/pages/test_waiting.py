"""The page that waits for a resource, and what its stream says."""

import base64
import hashlib
import json
import re

import pytest

from router import errors
from router.pages import WAKE_PATH, Form, Page, Pages, Progress, Stage
from router.pages.waiting import HEARTBEAT, STEPS, event, first_event, last_event

BRANDING = {"name": "Acme", "accent_color": "#e11d48", "support_url": "https://acme.example/help"}
STAGES = [Progress(stage) for stage in Stage] + [Progress(Stage.QUEUED, place) for place in (1, 2, 1000)]


def render(progress: Progress = STAGES[0], *, form: bool = False, branding: dict[str, str] | None = None) -> Page:
    return Pages("https://docs.miosa.ai/errors").waiting(
        progress, host="shop.miosa.app", branding=branding, form=form, request_id="req_<1>"
    )


def policy_of(page: Page) -> dict[str, str]:
    said = dict(page.extra)[b"Content-Security-Policy"].decode()
    return {part.split(" ", 1)[0]: part.split(" ", 1)[1] for part in said.split("; ")}


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@pytest.mark.parametrize("progress", STAGES, ids=lambda one: f"{one.stage.value}-{one.place}")
def test_it_shows_how_far_it_is(progress: Progress) -> None:
    """In words, and by the steps that are behind it; it is never a success."""
    page = render(progress)
    body = page.body.decode()
    assert page.status == 503
    assert progress.text in body
    assert f'data-stage="{progress.stage.value}"' in body
    names = [name for name, _ in STEPS]
    now = "asked" if progress.stage is Stage.QUEUED else progress.stage.value
    assert re.findall(r'data-step="(\w+)" class="now"', body) == [now]
    assert re.findall(r'data-step="(\w+)" class="done"', body) == names[: names.index(now)]


def test_a_place_in_the_queue_is_said() -> None:
    """The place itself, and for the first one what it waits for."""
    assert "number 12 in line" in Progress(Stage.QUEUED, 12).text
    assert "next in line" in Progress(Stage.QUEUED, 1).text


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize("branding", [None, BRANDING], ids=["plain", "branded"])
def test_it_runs_one_script_and_loads_nothing(form: bool, branding: dict[str, str] | None) -> None:
    """Its policy names the script and the style by their hashes, and the stream is of its own host."""
    page = render(form=form, branding=branding)
    body = page.body.decode()
    policy = policy_of(page)
    (script,) = re.findall(r"<script>(.*?)</script>", body, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", body, re.DOTALL)
    assert policy == {
        "default-src": "'none'",
        "style-src": digest(style),
        "script-src": digest(script),
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert not re.search(r"\b(?:src|action)=", body)
    assert not re.search(r"style=|\bon\w+=\"", body)
    assert f'data-source="{WAKE_PATH}"' in body
    assert b"innerHTML" not in page.body


def test_without_a_script_it_loads_itself_again() -> None:
    """By a refresh that browsers with a script pass over; not after a form, which would be a GET."""
    assert '<noscript><meta http-equiv="refresh"' in render().body.decode()
    assert b"http-equiv" not in render(form=True).body
    assert b"Refresh" not in dict(render().extra)


def test_after_a_form_it_says_what_became_of_it() -> None:
    """It was not sent on, and can be sent again."""
    body = render(form=True).body.decode()
    assert "was not sent on" in body
    assert "data-resend" in body
    assert "data-resend" not in render().body.decode().partition("<script>")[0]


def test_nothing_that_a_stranger_chose_becomes_markup() -> None:
    """Neither the request's id nor the host nor the owner's marks."""
    pages = Pages("https://docs.miosa.ai/errors")
    page = pages.waiting(
        STAGES[0], host="<b>", branding={"name": "<i>Acme"}, form=False, request_id="<u>"
    ).body.decode()
    assert not re.search(r"<[biu]>", page.replace("<i></i>", ""))


@pytest.mark.parametrize("progress", STAGES, ids=lambda one: f"{one.stage.value}-{one.place}")
def test_an_event(progress: Progress) -> None:
    """One line of JSON; the first also says when to come back."""
    raw = event(progress)
    assert raw.startswith(b"data: ")
    assert raw.endswith(b"\n\n")
    assert raw.count(b"\n") == 2
    assert json.loads(raw[6:]) == {"stage": progress.stage.value, "text": progress.text}
    assert first_event(progress) == b"retry: 2000\n" + raw
    assert HEARTBEAT.startswith(b":")


@pytest.mark.parametrize("problem", [errors.WAKE_FAILED, errors.WAKE_REFUSED, errors.WAKE_PAYMENT_REQUIRED])
def test_the_last_event(problem: errors.Problem) -> None:
    """The same words as the page that others get."""
    told = json.loads(last_event(problem)[6:])
    assert (told["stage"], told["code"], told["text"]) == ("failed", problem.code, problem.message)
    page = Pages("https://docs.miosa.ai/errors").render(problem, form=Form.HTML, request_id="r", host="h", port=1)
    assert told["heading"] in page.body.decode()
