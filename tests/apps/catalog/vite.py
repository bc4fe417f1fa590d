"""Vite's dev server, and what `vite preview` serves."""

from functools import partial

from tests.apps.app import App
from tests.apps.site import reloads_hot, shows

FILES = {
    "index.html": '<!doctype html><div id="app"></div><script type="module" src="/main.js"></script>',
    "main.js": (
        "import { words } from './words.js';\n"
        "document.querySelector('#app').textContent = words;\n"
        "if (import.meta.hot) import.meta.hot.accept('./words.js', next => {\n"
        "  document.querySelector('#app').textContent = next.words;\n});\n"
    ),
    "words.js": "export const words = 'Hello of Vite';\n",
}
APPS = [
    App(
        name="vite",
        title="Vite (dev)",
        npm=("vite@8",),
        files=FILES,
        start=("{node}", "node_modules/vite/bin/vite.js", "--port", "{port}", "--strictPort", "--host", "127.0.0.1"),
        checks={
            "page": partial(shows, words="Hello of Vite"),
            "HMR": partial(reloads_hot, path="words.js", old="Hello of Vite", new="Changed in Vite"),
        },
        setting="`server.allowedHosts`",
    ),
    App(
        name="vite-preview",
        title="Vite (preview)",
        folder="vite",
        npm=("vite@8",),
        files=FILES,
        build=(("{node}", "node_modules/vite/bin/vite.js", "build"),),
        start=(
            "{node}",
            "node_modules/vite/bin/vite.js",
            "preview",
            "--port",
            "{port}",
            "--strictPort",
            "--host",
            "127.0.0.1",
        ),
        checks={"page": partial(shows, words="Hello of Vite")},
        setting="`preview.allowedHosts`",
    ),
]
