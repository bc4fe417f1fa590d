"""Compile the data plane with mypyc: `python deploy/compile.py`; `--remove` goes back to the interpreter.

What runs for every request takes a third less processor time so (bench/README.md). It is the same code: each module
gets a shared object beside it, which Python prefers. One function, which reads heads, is also written in C, and compiled with the rest. Without a C compiler, or where mypyc is not installed, everything
works as well, only slower. As hatchling's build hook this does the same for wheels.
"""

import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent.parent

# What a request on a warm route runs through, and what such code holds in its hands: to reach into an object of a class
# that is compiled is cheap from compiled code only.
MODULES = (
    "router/access/brought.py",
    "router/access/cookies.py",
    "router/access/decision.py",
    "router/access/entry.py",
    "router/access/judging.py",
    "router/access/rules.py",
    "router/access/verdicts.py",
    "router/http1/bodies.py",
    "router/http1/body_copies.py",
    "router/http1/forwarding.py",
    "router/http1/heads.py",
    "router/http1/host_rewrite.py",
    "router/http1/local_heads.py",
    "router/http1/repair.py",
    "router/http1/request_sizes.py",
    "router/http1/requests.py",
    "router/http1/responses.py",
    "router/http1/shared_caches.py",
    "router/http1/upgrade.py",
    "router/http1/whole_bodies.py",
    "router/http2/compression.py",
    "router/http2/heads.py",
    "router/http2/session.py",
    "router/observe/access.py",
    "router/observe/ended_exchange.py",
    "router/observe/limited_log.py",
    "router/observe/metrics.py",
    "router/observe/recorder.py",
    "router/observe/secrets.py",
    "router/gate/ask.py",
    "router/gate/evidence.py",
    "router/gate/fast_path.py",
    "router/gate/handover.py",
    "router/gate/held_table.py",
    "router/gate/peers.py",
    "router/gate/policy.py",
    "router/hostname.py",
    "router/proxy/admission.py",
    "router/proxy/backend.py",
    "router/proxy/debug_timing.py",
    "router/proxy/guard.py",
    "router/proxy/h2_backend.py",
    "router/proxy/h2_client.py",
    "router/proxy/h2_connection.py",
    "router/proxy/h2_stream.py",
    "router/proxy/turn_budget.py",
    "router/proxy/client.py",
    "router/proxy/worker_state.py",
    "router/proxy/exchange.py",
    "router/proxy/form_body.py",
    "router/proxy/host_refusal.py",
    "router/proxy/response.py",
    "router/proxy/socket_state.py",
    "router/proxy/connection_limits.py",
    "router/proxy/queue.py",
    "router/proxy/callers.py",
    "router/proxy/sweep.py",
    "router/proxy/tunnel.py",
    "router/proxy/pacer.py",
    "router/proxy/unread.py",
    "router/proxy/whole_body.py",
    "router/records/packing.py",
    "router/records/reading.py",
    "router/records/record.py",
    "router/records/route_patterns.py",
    "router/records/sampling.py",
    "router/records/totals.py",
    "router/routes/resolver.py",
    "router/routes/route.py",
)
SCANNER: Final = "router/http1/head_scanner.c"  # written in C, beside the same in Python
# All modules are one C file, and shared objects of single modules find theirs in it by capsules: no function needs a name that other
# libraries see. So calls are direct or inlined, 4 % of a request's instructions, and 0.4 MB of names and tables are not there.
_FLAGS: Final = ("-fvisibility=hidden",)
_LIBRARY = "router.compiled"  # all of them in one, so that they call each other directly


def objects() -> list[Path]:
    """The shared objects that are there."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    beside = [ROOT / Path(module).with_suffix(suffix) for module in (*MODULES, SCANNER)]
    return [path for path in (*beside, ROOT / f"router/compiled__mypyc{suffix}") if path.exists()]


def remove_objects() -> None:
    for old in objects():
        old.unlink()


def are_current() -> bool:
    """Whether each module has an object that is not older than itself."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    sources = (*MODULES, SCANNER, Path(SCANNER).with_suffix(".py"))
    pairs = [(ROOT / source, (ROOT / source).with_suffix(suffix)) for source in sources]
    return all(made.exists() and made.stat().st_mtime >= source.stat().st_mtime for source, made in pairs)


def obstacle() -> str | None:
    """Why nothing can be compiled here."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's headers are not installed (on Debian and Ubuntu: python3-dev)"
    try:
        import mypyc.build  # noqa: F401, PLC0415 - it is looked for
        import setuptools  # noqa: F401, PLC0415
    except ImportError as error:
        return f"{error.name} is not installed"
    return None


def compile_modules() -> None:
    """Put the shared objects beside their modules. Exits where mypy finds an error."""
    # distutils would rather be there first.
    from mypyc.build import mypycify  # noqa: PLC0415
    from setuptools import Distribution, Extension  # noqa: PLC0415

    words = ["--cache-dir", "build/mypy", *MODULES]
    extensions = mypycify(words, opt_level="3", debug_level="0", group_name=_LIBRARY, target_dir="build/mypyc")
    for extension in extensions:
        extension.extra_compile_args += _FLAGS
    scanner = Extension(SCANNER.removesuffix(".c").replace("/", "."), [SCANNER], extra_compile_args=["-O3"])
    modules = [*extensions, scanner]
    command: Any = Distribution({"name": "miosa-router", "ext_modules": modules}).get_command_obj("build_ext")
    command.inplace = True
    command.build_temp = "build/temp"
    command.ensure_finalized()
    command.run()
    for made in objects():
        made.touch()  # it is as new as its module, whatever had to be done for that


def main() -> None:
    if "--remove-stale" in sys.argv[1:]:
        if not are_current():
            remove_objects()
        return
    remove = "--remove" in sys.argv[1:]
    why = None if remove else obstacle()
    if why is not None and are_current():
        return  # compiled elsewhere, from these very sources
    remove_objects()
    if remove:
        return
    if why is not None:
        print(
            f"not compiled, since {why}: the data plane runs interpreted, at half as much processor time again",
            file=sys.stderr,
        )
        return
    started = time.monotonic()
    print(f"compiling the data plane to machine code: {len(MODULES)} modules, half a minute to two minutes", flush=True)
    compile_modules()
    print(f"compiled in {time.monotonic() - started:.0f} s", flush=True)


class CompileHook(BuildHookInterface[Any]):
    """Compiled modules in wheels."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling. An editable install has them in place already, or does without."""
        if version == "editable":
            return
        subprocess.run([sys.executable, __file__], cwd=ROOT, check=True)
        found = objects()
        if found:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["force_include"] |= {str(path): str(path.relative_to(ROOT)) for path in found}


if __name__ == "__main__":
    main()
