"""The console at `/console/`: a web application for tenants' developers, as static files. It is a client of the REST API like any other.

`assets.py` serves the files. Under `static/`: `app.js` starts it, `layout.js` is the frame, `pages/index.js` the table of pages, `lib/` what pages
are made of. There is no build step: browsers load the modules as they are here.
"""
