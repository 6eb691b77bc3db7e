"""Feeds what atheris makes up to the reading and judging of pixel events: `make fuzz`.

At a glance or closely, whatever comes in: nothing but `Bad` comes out, what is kept can be stored, and both ways agree.
"""

import sys
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["services.ingest", "libs.common.shopify"]):
    from tests.pixel_inputs import broken, one_input

_EXAMPLES = 200

if __name__ == "__main__":
    with TemporaryDirectory() as folder:  # what it finds new is put there too
        for number in range(_EXAMPLES):
            Path(folder, str(number)).write_bytes(broken(Random(number)))
        atheris.Setup([*sys.argv, folder], one_input)
        atheris.Fuzz()
