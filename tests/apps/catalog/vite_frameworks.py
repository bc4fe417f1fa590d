"""Frameworks whose dev server is Vite: SvelteKit, React Router, Astro, Nuxt, Storybook, Angular."""

from functools import partial

from tests.apps.app import App
from tests.apps.site import posts_form, reloads_hot, shows

SVELTE = {
    "package.json": '{"private": true, "type": "module"}\n',
    "vite.config.js": ("import { sveltekit } from '@sveltejs/kit/vite';\nexport default { plugins: [sveltekit()] };\n"),
    "svelte.config.js": (
        "import adapter from '@sveltejs/adapter-node';\nexport default { kit: { adapter: adapter() } };\n"
    ),
    "src/app.html": "<!doctype html><html><head>%sveltekit.head%</head><body>%sveltekit.body%</body></html>\n",
    "src/routes/+page.svelte": (
        "<script>let { form } = $props();</script>\n<h1>Hello of SvelteKit</h1>\n"
        "<form method='post'><input name='name' /><button>Go</button></form>\n"
        "{#if form}<p>Greetings, {form.name}</p>{/if}\n"
    ),
    "src/routes/+page.server.js": (
        "export const actions = { default: async ({ request }) => ({ name: (await request.formData()).get('name') }) };\n"
    ),
}
SVELTE_NPM = ("@sveltejs/kit@2", "@sveltejs/adapter-node@5", "@sveltejs/vite-plugin-svelte@7", "svelte@5", "vite@8")
REACT_ROUTER = {
    "package.json": '{"private": true, "type": "module"}\n',
    "vite.config.js": (
        "import { reactRouter } from '@react-router/dev/vite';\nexport default { plugins: [reactRouter()] };\n"
    ),
    "react-router.config.js": "export default { ssr: true };\n",
    "app/routes.js": "import { index } from '@react-router/dev/routes';\nexport default [index('home.jsx')];\n",
    "app/root.jsx": (
        "import { Meta, Links, Outlet, Scripts } from 'react-router';\n"
        "export default function Root() { return <html><head><Meta /><Links /></head><body><Outlet /><Scripts /></body></html>; }\n"
    ),
    "app/home.jsx": (
        "import { Form } from 'react-router';\n"
        "export async function action({ request }) { return 'Greetings, ' + (await request.formData()).get('name'); }\n"
        "export default function Home({ actionData }) { return <main><h1>Hello of React Router</h1>"
        "<Form method='post'><input name='name' /><button>Go</button></Form><p>{actionData}</p></main>; }\n"
    ),
}
ASTRO = {
    "package.json": '{"private": true, "type": "module"}\n',
    "astro.config.mjs": (
        "import { defineConfig } from 'astro/config';\nimport node from '@astrojs/node';\n"
        "export default defineConfig({ output: 'server', adapter: node({ mode: 'standalone' }) });\n"
    ),
    "src/style.css": "h1::after { content: 'Style of Astro'; }\n",
    "src/pages/index.astro": (
        "---\nlet name = '';\nif (Astro.request.method === 'POST') name = (await Astro.request.formData()).get('name');\n---\n"
        "<html><body><h1>Hello of Astro</h1><style is:global>@import '../style.css';</style><form method='post'><input name='name' /><button>Go</button></form>\n"
        "{name && <p>Greetings, {name}</p>}</body></html>\n"
    ),
}
NUXT = {
    "package.json": '{"private": true, "type": "module"}\n',
    "nuxt.config.ts": "export default defineNuxtConfig({ compatibilityDate: '2026-01-01', telemetry: false, devtools: { enabled: false } });\n",
    "app/app.vue": "<template><h1>Hello of Nuxt</h1></template>\n",
}
STORYBOOK = {
    "package.json": '{"private": true, "type": "module"}\n',
    ".storybook/main.js": (
        "export default { stories: ['../stories/*.stories.js'], framework: '@storybook/html-vite',"
        " core: { disableTelemetry: true } };\n"
    ),
    "stories/words.stories.js": (
        "export default { title: 'Words' };\n"
        "export const Hello = () => { const p = document.createElement('p'); p.textContent = 'Hello of Storybook'; return p; };\n"
    ),
}
STORY = "/iframe.html?id=words--hello&viewMode=story"
ANGULAR = {
    "package.json": '{"private": true}\n',
    "angular.json": """{"version": 1, "projects": {"app": {"projectType": "application", "root": "", "sourceRoot": "src",
      "architect": {"build": {"builder": "@angular/build:application", "options": {"browser": "src/main.ts",
        "index": "src/index.html", "tsConfig": "tsconfig.json", "outputPath": "dist"},
        "configurations": {"development": {"optimization": false, "sourceMap": true}}},
      "serve": {"builder": "@angular/build:dev-server", "options": {"buildTarget": "app:build:development"}}}}},
      "cli": {"analytics": false}}
""",
    "tsconfig.json": """{"compilerOptions": {"target": "ES2022", "module": "preserve", "moduleResolution": "bundler",
      "skipLibCheck": true, "experimentalDecorators": true, "strict": true, "lib": ["ES2022", "dom"]},
      "files": ["src/main.ts"]}
""",
    "src/index.html": '<!doctype html><html><head><base href="/"></head><body><app-root></app-root></body></html>\n',
    "src/main.ts": (
        "import { bootstrapApplication } from '@angular/platform-browser';\nimport { Root } from './root';\n"
        "bootstrapApplication(Root);\n"
    ),
    "src/root.ts": (
        "import { Component } from '@angular/core';\n"
        "@Component({ selector: 'app-root', templateUrl: './root.html' })\nexport class Root {}\n"
    ),
    "src/root.html": "<h1>Hello of Angular</h1>\n",
}
VITE_SETTING = "`server.allowedHosts` in vite.config.js"
APPS = [
    App(
        name="sveltekit",
        title="SvelteKit (dev)",
        npm=SVELTE_NPM,
        files=SVELTE,
        start=("{node}", "node_modules/vite/bin/vite.js", "dev", "--port", "{port}", "--host", "127.0.0.1"),
        checks={
            "page": partial(shows, words="Hello of SvelteKit"),
            "form": partial(posts_form, words="Greetings, Ada"),
            "HMR": partial(
                reloads_hot,
                path="src/routes/+page.svelte",
                old="Hello of SvelteKit",
                new="Changed in SvelteKit",
            ),
        },
        setting=VITE_SETTING,
    ),
    App(
        name="sveltekit-production",
        title="SvelteKit (adapter-node)",
        folder="sveltekit",
        npm=SVELTE_NPM,
        files=SVELTE,
        build=(("{node}", "node_modules/vite/bin/vite.js", "build"),),
        start=("{node}", "build/index.js"),
        checks={
            "page": partial(shows, words="Hello of SvelteKit"),
            "form": partial(posts_form, words="Greetings, Ada"),
        },
    ),
    App(
        name="react-router",
        title="React Router (dev)",
        npm=(
            *("@react-router/dev@7", "@react-router/node@7", "@react-router/serve@7", "react-router@7"),
            *("react@19", "react-dom@19", "isbot@5", "vite@7", "typescript@5"),
        ),
        files=REACT_ROUTER,
        start=("{node}", "node_modules/@react-router/dev/bin.js", "dev", "--port", "{port}", "--host", "127.0.0.1"),
        checks={
            "page": partial(shows, words="Hello of React Router"),
            "form": partial(posts_form, words="Greetings, Ada"),
            "HMR": partial(
                reloads_hot,
                path="app/home.jsx",
                old="Hello of React Router",
                new="Changed in React Router",
            ),
        },
        setting=VITE_SETTING,
    ),
    App(
        name="astro",
        title="Astro (dev)",
        npm=("astro@5", "@astrojs/node@9"),
        files=ASTRO,
        start=("{node}", "node_modules/.bin/astro", "dev", "--port", "{port}", "--host", "127.0.0.1"),
        checks={
            "page": partial(shows, words="Hello of Astro"),
            "form": partial(posts_form, words="Greetings, Ada"),
            "HMR of styles": partial(
                reloads_hot,
                path="src/style.css",
                old="Style of Astro",
                new="Changed in Astro",
                text="getComputedStyle(document.querySelector('h1'), '::after').content",
            ),
            # Of a page itself Astro promises that it is loaded anew by itself.
            "live reload": partial(
                reloads_hot, path="src/pages/index.astro", old="Hello of Astro", new="Changed in Astro", anew=True
            ),
        },
        setting="`server.allowedHosts` in astro.config.mjs",
    ),
    App(
        name="nuxt",
        title="Nuxt (dev)",
        npm=("nuxt@4", "vue@3"),
        files=NUXT,
        start=("{node}", "node_modules/nuxt/bin/nuxt.mjs", "dev", "--port", "{port}", "--host", "127.0.0.1"),
        checks={
            "page": partial(shows, words="Hello of Nuxt"),
            "HMR": partial(reloads_hot, path="app/app.vue", old="Hello of Nuxt", new="Changed in Nuxt"),
        },
        setting="`vite.server.allowedHosts` in nuxt.config.ts",
    ),
    App(
        name="storybook",
        title="Storybook",
        npm=("storybook@10", "@storybook/html-vite@10", "vite@8"),
        files=STORYBOOK,
        start=(
            "{node}",
            "node_modules/storybook/dist/bin/dispatcher.js",
            "dev",
            "--ci",
            "--port",
            "{port}",
            "--host",
            "127.0.0.1",
        ),
        checks={
            "page": partial(shows, words="Words"),
            "story": partial(shows, words="Hello of Storybook", path=STORY),
            "HMR": partial(
                reloads_hot,
                path="stories/words.stories.js",
                old="Hello of Storybook",
                new="Changed in Storybook",
                page_path=STORY,
            ),
        },
        setting="`core.allowedHosts` in .storybook/main.js",
    ),
    App(
        name="angular",
        title="Angular (ng serve)",
        npm=(
            *("@angular/cli@21", "@angular/core@21", "@angular/common@21", "@angular/compiler@21"),
            *("@angular/platform-browser@21", "@angular/build@21", "@angular/compiler-cli@21"),
            *("typescript@5", "rxjs@7", "zone.js@0", "tslib@2"),
        ),
        files=ANGULAR,
        start=("{node}", "node_modules/@angular/cli/bin/ng.js", "serve", "--port", "{port}", "--host", "127.0.0.1"),
        checks={
            "page": partial(shows, words="Hello of Angular"),
            "HMR": partial(reloads_hot, path="src/root.html", old="Hello of Angular", new="Changed in Angular"),
        },
        setting="`allowedHosts` of `serve` in angular.json",
    ),
]
