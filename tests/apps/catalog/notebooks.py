"""Streamlit, Gradio, JupyterLab: programs that live on a WebSocket or an event stream."""

from functools import partial

from tests.apps.app import App
from tests.apps.site import Site, shows

STREAMLIT = """
import streamlit as st
st.title('Hello of Streamlit')
name = st.text_input('Name')
if st.button('Greet'):
    st.write('Greetings, somebody')
"""
GRADIO = """
import os
import gradio
gradio.Interface(lambda name: 'Greetings, ' + name, 'text', 'text', title='Hello of Gradio', api_name='greet').launch(
    server_port=int(os.environ['PORT']), share=False, enable_monitoring=False)
"""


async def clicks(site: Site) -> None:
    """A button's work comes back over the WebSocket."""
    async with site.page() as page:
        await page.shows("Hello of Streamlit")
        button = "[...document.querySelectorAll('button')].find(one => one.innerText.includes('Greet'))"
        await page.until(f"!!{button}")
        await page.run(f"{button}.click()")
        await page.shows("Greetings, somebody")


async def submits(site: Site) -> None:
    """What Gradio's page does: it queues a call and hears of it in an event stream."""
    async with site.page() as page:
        await page.shows("Hello of Gradio")
        await page.until(
            "document.querySelector('textarea') && [...document.querySelectorAll('button')].some(one => one.innerText.includes('Submit'))"
        )
        await page.run(
            "(() => { const area = document.querySelector('textarea'); area.value = 'Ada';"
            "area.dispatchEvent(new Event('input', { bubbles: true })) })()"
        )
        await page.run("new Promise(done => setTimeout(done, 500))")
        await page.run("[...document.querySelectorAll('button')].find(one => one.innerText.includes('Submit')).click()")
        await page.until("[...document.querySelectorAll('textarea')].some(one => one.value === 'Greetings, Ada')")


async def runs_code(site: Site) -> None:
    """A kernel is started and asked, as JupyterLab's page does, over its WebSocket."""
    async with site.page("/lab") as page:
        await page.until("document.readyState === 'complete'")
        said = await page.run("""(async () => {
            const xsrf = document.cookie.match(/_xsrf=([^;]*)/)[1];
            const headers = { 'X-XSRFToken': xsrf, 'Content-Type': 'application/json' };
            const answer = await fetch('/api/kernels', { method: 'POST', headers, body: '{"name": "python3"}' });
            if (!answer.ok) return 'kernel: ' + answer.status + await answer.text();
            const kernel = await answer.json();
            const socket = new WebSocket(`wss://${location.host}/api/kernels/${kernel.id}/channels`);
            await new Promise((done, failed) => { socket.onopen = done; socket.onerror = () => failed(new Error('refused')); });
            const header = { msg_id: 'one', msg_type: 'execute_request', username: '', session: 's', version: '5.3' };
            socket.send(JSON.stringify({ header, parent_header: {}, metadata: {}, channel: 'shell', buffers: [],
                content: { code: 'print(6 * 7)', silent: false, store_history: false, user_expressions: {}, allow_stdin: false } }));
            return await new Promise(done => { socket.onmessage = event => {
                const message = JSON.parse(event.data);
                if (message.msg_type === 'stream') done(message.content.text);
            } });
        })()""")
        assert said.strip() == "42", said


APPS = [
    App(
        name="streamlit",
        title="Streamlit",
        pip=("streamlit==1.*",),
        files={"app.py": STREAMLIT},
        start=(
            "{python}",
            "-m",
            "streamlit",
            "run",
            "app.py",
            "--server.port",
            "{port}",
            "--server.headless",
            "true",
            "--browser.gatherUsageStats",
            "false",
        ),
        checks={"page": partial(shows, words="Hello of Streamlit"), "WebSocket": clicks},
    ),
    App(
        name="gradio",
        title="Gradio",
        pip=("gradio==6.*",),
        files={"app.py": GRADIO},
        environment={"GRADIO_ANALYTICS_ENABLED": "False"},
        start=("{python}", "app.py"),
        checks={"page": partial(shows, words="Hello of Gradio"), "event stream": submits},
    ),
    App(
        name="jupyterlab",
        title="JupyterLab",
        pip=("jupyterlab==4.*",),
        start=(
            "{python}",
            "-m",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            "--ip=0.0.0.0",
            "--port={port}",
            "--ServerApp.token=",
            "--ServerApp.root_dir={folder}",
        ),
        ready="/api",
        checks={"page": partial(shows, words="Launcher", path="/lab"), "kernel": runs_code},
    ),
]
