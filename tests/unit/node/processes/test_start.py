"""What a process loads and does before it serves."""

import gc
import subprocess
import sys

import pytest

from router.node.processes.garbage_collection import EVERYTHING, spare_start, tune_gc
from router.node.processes.threads import yield_to_the_loop


def test_the_supervisor_loads_nothing_that_carries_traffic() -> None:
    """It starts before all others, and stays: neither the proxy nor the store nor the API is in it."""
    code = (
        "import sys, router.node.processes.serve, router.node.processes.supervisor\n"
        "heavy = ('router.node.app', 'router.proxy', 'router.store', 'router.api', 'sqlalchemy', 'aiohttp', 'jinja2', 'prometheus_client', 'router.node.ipc.messages')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_node_on_sqlite_loads_nothing_of_postgresql_and_no_tool_that_draws() -> None:
    """SQLAlchemy's ORM comes with its asynchronous engine alone, and rich with tracebacks that nobody asked for; who wants
    to draw can still import it. Nor what fetches lists of public suffixes, since ours is a file, nor
    dnspython's own client, nor the messages between processes."""
    code = (
        "import sys; from router.node.processes.structlog_import import import_structlog; import_structlog()\n"
        "import router.node.processes.single, router.node.control, router.store\n"
        "from router.domains.public_suffixes import public_suffixes; public_suffixes()\n"
        "heavy = ('sqlalchemy.orm', 'sqlalchemy.ext.asyncio', 'alembic', 'asyncpg', 'rich', 'greenlet', 'tldextract', 'requests', 'dns.resolver', 'router.node.ipc.wire')\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "import rich.console"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_worker_has_no_list_of_public_suffixes() -> None:
    """Nor a database's library, nor others that only the control process needs: it writes out the metrics of all."""
    code = (
        "import sys, router.node.processes.child\n"
        "from router.node.app import App\n"
        "from router.node.process_role import ProcessRole\n"
        "from router.settings import parse\n"
        "settings = parse({'platform_domain': 'miosa.test', 'roles': ['proxy'], 'workers': 2})\n"
        "App(settings, process=ProcessRole(number=1, addresses={}, control=True, start='first'))\n"
        "from router.domains.public_suffixes import public_suffixes\n"
        "assert public_suffixes.cache_info().misses == 0\n"
        "heavy = ('tldextract', 'requests', 'router.store', 'sqlalchemy', 'aiohttp', 'cryptography', 'prometheus_client', 'router.records.keeper')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_garbage_collector_waits_for_the_start_and_then_works() -> None:
    """A start is spared nearly all collections; a process that serves has short ones, and what it started with is frozen."""
    before = gc.get_threshold()
    try:
        spare_start()
        assert gc.isenabled()
        assert gc.get_threshold()[0] > 100_000
        tune_gc(EVERYTHING)
        assert gc.get_threshold() == (1_000, 3, EVERYTHING)
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_threads_give_way_to_the_loop_soon() -> None:
    """Within half a millisecond."""
    before = sys.getswitchinterval()
    try:
        yield_to_the_loop()
        assert sys.getswitchinterval() == pytest.approx(0.000_5)
    finally:
        sys.setswitchinterval(before)
