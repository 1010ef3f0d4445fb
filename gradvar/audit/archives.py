"""Zip archives that hold rollouts: files of ``torch.save``, and logs of Inspect (``.eval``)."""

import json
import zipfile
from pathlib import Path
from typing import Any

from gradvar.audit.malformed import one_line
from gradvar.audit.torch_files import LARGEST, read_legacy_torch_file, read_torch_file

_CONVERT = "write JSON with `inspect log convert --to json`"


def read_archive(path: Path) -> dict[str, Any]:
    """The one object of an archive.

    Raises:
        ValueError: It is no archive of a kind that is known, is damaged, or is larger than 1 GB unpacked.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(n == "data.pkl" or n.endswith("/data.pkl") for n in names):
                return _samples(read_torch_file(path))
            samples = [n for n in names if n.startswith("samples/") and n.endswith(".json")]
            if "xl/workbook.xml" in names:
                raise ValueError("an Excel workbook, which is not read; save its sheet as CSV")
            if any(n.endswith(".npy") for n in names):
                raise ValueError(
                    "arrays of NumPy (.npz), which are not read; write one JSON object per line (JSONL)"
                )
            if not samples:
                raise ValueError("a zip archive, which is not read; unpack it and give the files in it")
            if sum(archive.getinfo(n).file_size for n in names) > LARGEST:
                raise ValueError(f"a log of more than 1 GB unpacked; {_CONVERT} and one sample a line")
            return {"eval": {}, "samples": [json.loads(archive.read(n)) for n in samples]}
    except NotImplementedError:  # a compression that Python does not know, such as zstd before 3.14
        raise ValueError(f"a log packed in a way that is not read here; {_CONVERT}") from None
    except (zipfile.BadZipFile, OSError, EOFError, RecursionError) as error:
        raise ValueError(f"a zip archive that cannot be read ({one_line(error)})") from None


def read_legacy(path: Path) -> dict[str, Any]:
    """The one object of a file that ``torch.save`` wrote before PyTorch 1.6."""
    return _samples(read_legacy_torch_file(path))


def _samples(value: Any) -> dict[str, Any]:
    """What ``torch.save`` wrote, as an object of samples."""
    if isinstance(value, list):
        return {"samples": value}
    if not isinstance(value, dict):
        raise ValueError("a file of torch.save that holds no dictionary of samples; write JSON lines")
    return value
