"""Rails in development, Sinatra, PHP's own server, Go."""

from functools import partial

from tests.apps.app import App
from tests.apps.site import Site, posts_form, shows

RAILS = """
ENV['RAILS_ENV'] = 'development'
require 'logger'
require 'rails'
require 'action_controller/railtie'

class App < Rails::Application
  config.root = __dir__
  config.eager_load = false
  config.consider_all_requests_local = true
  config.secret_key_base = 'x' * 64
  config.hosts = ['.localhost', IPAddr.new('0.0.0.0/0'), IPAddr.new('::/0')]  # as Rails sets it in development
  config.action_controller.forgery_protection_origin_check = true
  routes.append do
    root to: 'pages#show'
    post '/', to: 'pages#greet'
  end
end

class PagesController < ActionController::Base
  protect_from_forgery with: :exception

  def show
    render html: "<h1>Hello of Rails</h1><form method=post><input name=name><input type=hidden name=authenticity_token value='#{form_authenticity_token}'><button>Go</button></form>".html_safe
  end

  def greet
    render html: "<h1>Greetings, #{params[:name]}</h1>".html_safe
  end
end

App.initialize!
require 'rack/handler/webrick'
Rack::Handler::WEBrick.run(Rails.application, Host: '127.0.0.1', Port: ENV['PORT'].to_i)
"""
SINATRA = """
require 'sinatra'
set :server, 'webrick'
set :bind, '127.0.0.1'
set :port, ENV['PORT'].to_i
enable :sessions
get '/' do
  session[:name] ? "<h1>Welcome back, #{session[:name]}</h1>" :
    '<h1>Hello of Sinatra</h1><form method=post action=/login><input name=name><button>Go</button></form>'
end
post '/login' do
  session[:name] = params[:name]
  redirect '/'
end
"""
PHP = """<?php
session_start();
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
  $_SESSION['name'] = $_POST['name'];
  header('Location: http://' . $_SERVER['SERVER_NAME'] . ':' . $_SERVER['SERVER_PORT'] . '/');
} elseif (isset($_SESSION['name'])) {
  echo '<h1>Welcome back, ' . htmlspecialchars($_SESSION['name']) . '</h1>';
} else {
  echo '<h1>Hello of PHP</h1><form method=post><input name=name><button>Go</button></form>';
}
"""
PHP_ABSOLUTE = PHP.replace("$_SERVER['SERVER_NAME'] . ':' . $_SERVER['SERVER_PORT']", "$_SERVER['HTTP_HOST']")
GO = """package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			fmt.Fprintf(w, "<h1>Greetings, %s</h1>", r.FormValue("name"))
			return
		}
		fmt.Fprint(w, "<h1>Hello of Go</h1><form method=post><input name=name><button>Go</button></form>")
	})
	http.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; i < 3; i++ {
			fmt.Fprintf(w, "data: %d\\n\\n", i)
			w.(http.Flusher).Flush()
			time.Sleep(100 * time.Millisecond)
		}
	})
	http.Handle("/files/", http.StripPrefix("/files/", http.FileServer(http.Dir("files"))))
	http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil)
}
"""


async def seeks(site: Site) -> None:
    """A video's player asks for parts: 206 with the right bytes."""
    (site.folder / "files").mkdir(exist_ok=True)
    content = bytes(range(256)) * 4096
    (site.folder / "files" / "film.mp4").write_bytes(content)
    async with site.client() as client:
        for said, first, last in (
            ("bytes=0-", 0, len(content)),
            ("bytes=1000-1999", 1000, 2000),
            ("bytes=-100", -100, None),
        ):
            async with client.get("/files/film.mp4", headers={"Range": said}) as response:
                assert response.status == 206
                assert await response.read() == content[first:last]


async def streams(site: Site) -> None:
    """An event stream in the browser."""
    async with site.page() as page:
        await page.shows("Hello of Go")
        said = await page.run(
            "new Promise(done => { const heard = []; const events = new EventSource('/events');"
            "events.onmessage = event => { heard.push(event.data); if (heard.length === 3) { events.close(); done(heard.join()); } } })"
        )
        assert said == "0,1,2"


APPS = [
    App(
        name="rails",
        title="Rails (development)",
        apt=("ruby-rails", "ruby-webrick"),
        files={"app.rb": RAILS},
        start=("ruby", "app.rb"),
        checks={
            "page": partial(shows, words="Hello of Rails"),
            "form with CSRF": partial(posts_form, words="Greetings, Ada"),
        },
        setting="`config.hosts`",
    ),
    App(
        name="sinatra",
        title="Sinatra",
        apt=("ruby-sinatra", "ruby-webrick"),
        files={"app.rb": SINATRA},
        start=("ruby", "app.rb"),
        checks={
            "page": partial(shows, words="Hello of Sinatra"),
            "login": partial(posts_form, words="Welcome back, Ada"),
        },
    ),
    App(
        name="php",
        title="PHP (php -S)",
        apt=("php-cli",),
        files={"index.php": PHP_ABSOLUTE},
        environment={"PHP_CLI_SERVER_WORKERS": "4"},
        start=("php", "-S", "127.0.0.1:{port}"),
        checks={"page": partial(shows, words="Hello of PHP"), "login": partial(posts_form, words="Welcome back, Ada")},
    ),
    App(
        name="go",
        title="Go (net/http)",
        apt=("golang-go",),
        files={"main.go": GO},
        build=(("go", "build", "-o", "app", "main.go"),),
        start=("./app",),
        checks={
            "page": partial(shows, words="Hello of Go"),
            "form": partial(posts_form, words="Greetings, Ada"),
            "event stream": streams,
            "video with ranges": seeks,
        },
    ),
]
