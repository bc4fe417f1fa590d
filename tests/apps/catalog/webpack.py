"""webpack-dev-server."""

from functools import partial

from tests.apps.app import App
from tests.apps.site import reloads_hot, shows

CONFIG = """
module.exports = { mode: 'development', entry: './main.js', devServer: { hot: true, static: __dirname } };
"""
APPS = [
    App(
        name="webpack",
        title="webpack-dev-server",
        npm=("webpack", "webpack-cli", "webpack-dev-server"),
        files={
            "package.json": '{"private": true}\n',
            "webpack.config.js": CONFIG,
            "index.html": '<!doctype html><div id="app"></div><script src="/main.js"></script>',
            "main.js": (
                "const show = () => { document.querySelector('#app').textContent = require('./words.js'); };\n"
                "show();\nif (module.hot) module.hot.accept('./words.js', show);\n"
            ),
            "words.js": "module.exports = 'Hello of webpack';\n",
        },
        start=("{node}", "node_modules/webpack/bin/webpack.js", "serve", "--port", "{port}"),
        checks={
            "page": partial(shows, words="Hello of webpack"),
            "HMR": partial(reloads_hot, path="words.js", old="Hello of webpack", new="Changed in webpack"),
        },
        setting="`devServer.allowedHosts`; for hot reloading `devServer.client.webSocketURL: 'auto://0.0.0.0:0/ws'`, else its script dials the port that it listens on",
    ),
]
