"""Every command of data_prep answers --help at once."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["prepare", "tokenize", "inspect", "demo"])
def test_help_loads_no_heavy_library(name):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['data_prep.{name}', '--help']\n"
        f"try: runpy.run_module('data_prep.{name}', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'soundfile', 'transformers', 'ray', 'lightning', 'demucs', 'av'}\n"
        "print('loaded', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "loaded []" in done.stdout, done.stdout[-300:]
    assert "output" in done.stdout
