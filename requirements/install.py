"""`python install.py LOCK`: install a lock into the environment of this Python, and show how far it is.

pip's own output would be three lines for each of a hundred packages. It is shown whole where something fails.
"""

import subprocess
import sys
from pathlib import Path

lock = Path(sys.argv[1])
total = sum("==" in line for line in lock.read_text().splitlines())
flags = ["--disable-pip-version-check", "--no-deps", "--require-hashes", "--progress-bar", "off"]
command = [sys.executable, "-m", "pip", "install", *flags, "--requirement", str(lock)]
output = []
done = 0
with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
    assert pip.stdout
    for line in pip.stdout:
        output.append(line)
        done += line.startswith(("Collecting", "Requirement already satisfied", "Ignoring"))
        if sys.stdout.isatty() and line.startswith(("Collecting", "  Downloading", "Installing collected")):
            said = line.strip() if line.startswith("  Down") else f"{done} of {total} packages"
            print(f"\r\033[K  {said[:70]}", end="", flush=True)
if sys.stdout.isatty():
    print("\r\033[K", end="")
if pip.returncode != 0:
    sys.exit("".join(output) + f"\nerror: {lock} could not be installed")
