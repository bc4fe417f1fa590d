"""deploy/sbom.py: the bill of materials lists the lock."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_bill_lists_the_lock() -> None:
    """Every pinned package with its version and every hash, under unique references; the application depends on all."""
    bill = runpy.run_path(str(ROOT / "deploy" / "sbom.py"))["document"]()
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = dict(re.findall(r"(?m)^([a-z0-9-]+)==([^ ;]+)", lock))
    assert {one["name"]: one["version"] for one in bill["components"]} == pins
    references = [one["bom-ref"] for one in bill["components"]]
    assert len(set(references)) == len(references)
    assert bill["dependencies"] == [{"ref": "miosa-router", "dependsOn": references}]
    hashes = [hash_["content"] for one in bill["components"] for hash_ in one["externalReferences"][0]["hashes"]]
    assert sorted(hashes) == sorted(re.findall(r"--hash=sha256:([0-9a-f]{64})", lock))
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", bill["serialNumber"])


def test_the_bill_can_be_repeated() -> None:
    """The same lock gives the same document."""
    document = runpy.run_path(str(ROOT / "deploy" / "sbom.py"))["document"]
    assert document() == document()
