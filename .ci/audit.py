"""Known vulnerabilities of the versions in constraints.txt, by pip-audit. Needs the network, and says so without it.

Exit codes: 0 none is known, 1 some are, 3 the database could not be asked about all of them.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOL = "pip-audit>=2.9"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet")
AUDIT = (
    sys.executable,
    "-m",
    "pip_audit",
    "--no-deps",
    "--disable-pip",
    "--progress-spinner",
    "off",
    "--format",
    "json",
)


def main() -> int:
    ready = subprocess.run([*AUDIT, "--version"], capture_output=True, check=False).returncode == 0
    if not ready and subprocess.run([*PIP, TOOL], check=False).returncode != 0:
        return unasked("pip-audit is not installed and cannot be fetched")
    made = subprocess.run(
        [*AUDIT, "--requirement", "constraints.txt"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    try:
        packages = json.loads(made.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = made.stderr.strip().splitlines() or ["pip-audit said nothing"]
        return unasked(lines[-1])
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    known = [(package, found) for package in packages for found in package.get("vulns", ())]
    for package, found in known:
        mended = ", ".join(found["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {found['id']}; mended in {mended}")
    if skipped:
        some = ", ".join(skipped[:5]) + (", ..." if len(skipped) > 5 else "")
        return unasked(f"{len(skipped)} of {len(packages)} packages are not known there: {some}", 1 if known else 3)
    print(f"audit: {len(packages)} packages asked about, {len(known)} known vulnerabilities")
    return 1 if known else 0


def unasked(why: str, code: int = 3) -> int:
    print(f"audit: NOT (ALL) AUDITED, the database of vulnerabilities could not be asked: {why}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
