"""`python install.py LOCK`: install a lock into the environment of this Python, and show how far it is.

pip's own output would be three lines for each of a hundred packages. It is shown whole where something fails.
"""

import os
import subprocess
import sys
from pathlib import Path

lock = Path(sys.argv[1])
is_chinese = os.environ.get("CHINESE", "") != ""  # set by the Makefile
packages = "{}/{} 个包" if is_chinese else "{} of {} packages"
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
            said = line.strip() if line.startswith("  Down") else packages.format(done, total)
            print(f"\r\033[K  {said[:70]}", end="", flush=True)
if sys.stdout.isatty():
    print("\r\033[K", end="")
if pip.returncode != 0:
    reason = f"错误：{lock} 安装失败，原因见上" if is_chinese else f"error: {lock} could not be installed"
    sys.exit("".join(output) + f"\n{reason}")
