"""webpack-dev-server, and the same with what lets it reload hot."""

from functools import partial

from tests.apps.app import App
from tests.apps.site import reloads_hot, shows

FILES = {
    "package.json": '{"private": true}\n',
    "webpack.config.js": ("module.exports = { mode: 'development', entry: './main.js', devServer: { hot: true } };\n"),
    "told.config.js": (
        "const config = require('./webpack.config.js');\n"
        "module.exports = { ...config, devServer: { ...config.devServer, allowedHosts: ['webpack-told.miosa.test'],\n"
        "  client: { webSocketURL: 'auto://0.0.0.0:0/ws' } } };\n"
    ),
    "public/index.html": '<!doctype html><div id="app"></div><script src="/main.js"></script>',
    "main.js": (
        "const show = () => { document.querySelector('#app').textContent = require('./words.js'); };\n"
        "show();\nif (module.hot) module.hot.accept('./words.js', show);\n"
    ),
    "words.js": "module.exports = 'Hello of webpack';\n",
}
NPM = ("webpack@5", "webpack-cli@7", "webpack-dev-server@5")
START = ("{node}", "node_modules/webpack/bin/webpack.js", "serve", "--port", "{port}")
CHECKS = {
    "page": partial(shows, words="Hello of webpack"),
    "HMR": partial(reloads_hot, path="words.js", old="Hello of webpack", new="Changed in webpack"),
}
APPS = [
    App(
        name="webpack",
        title="webpack-dev-server",
        npm=NPM,
        files=FILES,
        start=START,
        checks=CHECKS,
        setting="`devServer.allowedHosts`; for hot reloading `devServer.client.webSocketURL: 'auto://0.0.0.0:0/ws'`, else its script dials the port that it listens on",
    ),
    App(
        name="webpack-told",
        title="webpack-dev-server, `devServer.allowedHosts` and `devServer.client.webSocketURL`",
        folder="webpack",
        npm=NPM,
        files=FILES,
        start=(*START, "--config", "told.config.js"),
        checks=CHECKS,
        told=True,
    ),
]
