"""Express with a login by session cookie and Socket.IO."""

from functools import partial

from tests.apps.app import App
from tests.apps.site import Site, posts_form, shows

SERVER = """
import express from 'express';
import session from 'express-session';
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const app = express();
app.set('trust proxy', 1);
app.use(express.urlencoded({ extended: true }));
app.use(session({ secret: 'x', resave: false, saveUninitialized: false, proxy: true, cookie: { secure: true } }));
app.get('/', (request, response) => response.send(request.session.name
  ? `<h1>Welcome back, ${request.session.name}</h1>`
  : '<h1>Hello of Express</h1><form method=post action=/login><input name=name><button>Go</button></form>'));
app.post('/login', (request, response) => {
  request.session.name = request.body.name;
  response.redirect(`${request.protocol}://${request.hostname}/`);
});
app.get('/chat', (request, response) => response.send(`<p id=said></p><script src=/socket.io/socket.io.js></script><script>
  const socket = io({ transports: ['websocket'] });
  socket.on('answer', words => { document.querySelector('#said').textContent = words; });
  socket.emit('question', 'ping');</script>`));
const server = createServer(app);
new Server(server).on('connection', socket => socket.on('question', words => socket.emit('answer', 'heard ' + words)));
server.listen(process.env.PORT);
"""


async def redirects(site: Site) -> None:
    """An absolute redirect whose URL the program has built itself."""
    async with site.client() as client, client.post("/login", data={"name": "x"}, allow_redirects=False) as response:
        assert response.headers["Location"] == site.direct_url + "/", response.headers["Location"]


APPS = [
    App(
        name="express",
        title="Express and Socket.IO",
        npm=("express@5", "socket.io@4", "express-session@1"),
        files={"package.json": '{"private": true, "type": "module"}\n', "server.js": SERVER},
        start=("{node}", "server.js"),
        checks={
            "page": partial(shows, words="Hello of Express"),
            "login": partial(posts_form, words="Welcome back, Ada"),
            "redirect": redirects,
            "Socket.IO": partial(shows, words="heard ping", path="/chat"),
        },
    ),
]
