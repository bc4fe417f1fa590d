"""Django's dev server, Flask's, FastAPI on uvicorn."""

import io
from functools import partial

from tests.apps.app import App
from tests.apps.site import Site, echoes, posts_form, shows

DJANGO = """
import sys
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.urls import path

settings.configure(
    DEBUG=True, SECRET_KEY='x', ROOT_URLCONF=__name__, ALLOWED_HOSTS=[],
    MIDDLEWARE=['django.middleware.common.CommonMiddleware', 'django.middleware.csrf.CsrfViewMiddleware'],
)

def page(request):
    if request.method == 'POST':
        return HttpResponse(f"<h1>Greetings, {request.POST['name']}</h1>")
    return HttpResponse(
        '<h1>Hello of Django</h1><form method=post><input name=name>'
        f'<input type=hidden name=csrfmiddlewaretoken value={get_token(request)}><button>Go</button></form>')

urlpatterns = [path('', page)]
if __name__ == '__main__':
    execute_from_command_line(sys.argv)
"""
FLASK = """
from flask import Flask, redirect, request, session, url_for
app = Flask(__name__)
app.secret_key = 'x'

@app.get('/')
def page():
    if 'name' in session:
        return f"<h1>Welcome back, {session['name']}</h1>"
    return '<h1>Hello of Flask</h1><form method=post action=/login><input name=name><button>Go</button></form>'

@app.post('/login')
def login():
    session['name'] = request.form['name']
    return redirect(url_for('page', _external=True))

@app.post('/upload')
def upload():
    return str(len(request.files['file'].read()))
"""
FASTAPI = """
from fastapi import FastAPI, File, Form, UploadFile, WebSocket
from fastapi.responses import HTMLResponse
app = FastAPI()

@app.get('/', response_class=HTMLResponse)
def page():
    return '<h1>Hello of FastAPI</h1><form method=post action=/greet><input name=name><button>Go</button></form>'

@app.post('/greet', response_class=HTMLResponse)
def greet(name: str = Form()):
    return f'<h1>Greetings, {name}</h1>'

@app.post('/upload')
async def upload(file: UploadFile = File()):
    return len(await file.read())

@app.websocket('/ws')
async def ws(socket: WebSocket):
    await socket.accept()
    await socket.send_text('heard ' + await socket.receive_text())
"""


async def uploads(site: Site) -> None:
    """Five megabytes in a form."""
    status, body = await site.fetch("POST", "/upload", data={"file": io.BytesIO(b"x" * 5_000_000)})
    assert (status, body) == (200, "5000000"), (status, body[:200])


APPS = [
    App(
        name="django",
        title="Django (runserver, DEBUG)",
        pip=("django==5.*",),
        files={"manage.py": DJANGO},
        start=("{python}", "manage.py", "runserver", "--noreload", "0.0.0.0:{port}"),
        checks={
            "page": partial(shows, words="Hello of Django"),
            "form with CSRF": partial(posts_form, words="Greetings, Ada"),
        },
        setting="`ALLOWED_HOSTS`, and `CSRF_TRUSTED_ORIGINS` with it",
    ),
    App(
        name="flask",
        title="Flask (dev)",
        pip=("flask==3.*",),
        files={"app.py": FLASK},
        start=("{python}", "-m", "flask", "--app", "app", "--debug", "run", "--no-reload", "--port", "{port}"),
        checks={
            "page": partial(shows, words="Hello of Flask"),
            "login": partial(posts_form, words="Welcome back, Ada"),
            "upload": uploads,
        },
    ),
    App(
        name="fastapi",
        title="FastAPI (uvicorn)",
        pip=("fastapi==0.*", "uvicorn[standard]==0.*", "python-multipart==0.*"),
        files={"app.py": FASTAPI},
        start=("{python}", "-m", "uvicorn", "app:app", "--port", "{port}"),
        checks={
            "page": partial(shows, words="Hello of FastAPI"),
            "form": partial(posts_form, words="Greetings, Ada"),
            "docs": partial(shows, words="FastAPI", path="/openapi.json"),
            "WebSocket": partial(echoes, path="/ws", heard="heard hello"),
            "upload": uploads,
        },
    ),
]
