"""Next.js: its dev server with hot reloading, its production server, Server Actions in both."""

from functools import partial

from tests.apps.app import App
from tests.apps.site import posts_form, reloads_hot, shows

FILES = {
    "package.json": '{"private": true}\n',
    "next.config.mjs": "export default { distDir: process.env.DIST || '.next' };\n",
    "app/layout.js": "export default function Layout({ children }) { return <html><body>{children}</body></html>; }\n",
    "app/page.js": (
        "import Words from './words';\nimport Form from './form';\n"
        "export default function Page() { return <main><Words /><Form /></main>; }\n"
    ),
    "app/words.js": "'use client';\nexport default function Words() { return <h1>Hello of Next</h1>; }\n",
    "app/actions.js": (
        "'use server';\nimport { headers } from 'next/headers';\n"
        "export async function greet(before, form) {\n"
        "  return 'Greetings, ' + form.get('name') + ' at ' + (await headers()).get('host');\n}\n"
    ),
    "app/form.js": (
        "'use client';\nimport { useActionState } from 'react';\nimport { greet } from './actions';\n"
        "export default function Form() {\n  const [said, action] = useActionState(greet, '');\n"
        "  return <form action={action}><input name='name' /><button>Go</button><p>{said}</p></form>;\n}\n"
    ),
}
NPM = ("next@16", "react@19", "react-dom@19")
RUN = ("{node}", "node_modules/next/dist/bin/next")
APPS = [
    App(
        name="next",
        title="Next.js (dev)",
        npm=NPM,
        files=FILES,
        start=(*RUN, "dev", "--port", "{port}", "--hostname", "0.0.0.0"),
        checks={
            "page": partial(shows, words="Hello of Next"),
            "Server Action": partial(posts_form, words="Greetings, Ada at next.miosa.test"),
            "HMR": partial(reloads_hot, path="app/words.js", old="Hello of Next", new="Changed in Next"),
            "Server Action after HMR": partial(posts_form, words="Greetings, Ada at next.miosa.test"),
        },
        setting="`allowedDevOrigins`, only for hot reloading",
    ),
    App(
        name="next-production",
        title="Next.js (production)",
        folder="next",
        npm=NPM,
        files=FILES,
        build=((*RUN, "build"),),
        start=(*RUN, "start", "--port", "{port}"),
        checks={
            "page": partial(shows, words="Hello of Next"),
            "Server Action": partial(posts_form, words="Greetings, Ada at next-production.miosa.test"),
        },
    ),
]
