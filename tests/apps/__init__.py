"""Real programs behind the router and Caddy, in a real browser, under a public name: `make apps`.

Each file of `catalog/` is one program: what installs it, what starts it, and what has to work. Nothing is set for any of
them: no host mode, no option of theirs for allowed hosts. `run.py` installs and runs them one after the other, shows a
table, and writes the matrix of docs/frameworks.md. What npm, pip and apt install is kept in `.apps/`.
"""
