"""The schema of results, as tests ask it."""

import json
from importlib.resources import files

import pytest

from gradvar.files.tables import to_plain

SCHEMA = json.loads((files("gradvar.files") / "results.schema.json").read_text())


def errors(kind, content):
    """Where the content is not as the definition of its kind says."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = {"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]}
    text = json.dumps(to_plain(content), allow_nan=False)
    found = jsonschema.Draft202012Validator(schema).iter_errors(json.loads(text))
    return [f"{list(error.absolute_path)}: {error.message}" for error in found]
