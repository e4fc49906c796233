"""Writes the built-in object definitions from OMA DDF files: build_registry.py FOLDER OUTPUT."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gateway.errors import DecodeError
from gateway.model import Operations, ResourceType
from gateway.objects.ddf import parse_ddf
from gateway.objects.registry import (
    CARDINALITIES,
    FIRST_REUSABLE,
    OPERATIONS,
    ObjectDefinition,
    ResourceDefinition,
)

HEADER = {
    "about": "Facts of OMA and IPSO objects, written by tools/build_registry.py: do not edit",
    "source": "https://github.com/OpenMobileAlliance/lwm2m-registry, branch prod",
    "commit": "b62ffc2c40c69f10d6e2f449441af84ba8aa48e2 (2024-02-22)",
    "licences": [
        "BSD-3-Clause, Copyright 2017-2023 Open Mobile Alliance (0-26, 3200-3350)",
        "BSD-3-Clause, Copyright 2019 Vaisala (10311)",
        "MIT, Copyright (c) 2019 OpenLX SP Ltd (10314)",
    ],
}

# Registered reusable resources that no object of the folder has, but that devices send.
EXTRA = [
    # The registry's list of reusable resources; BIPSO sends it with 3316-3330 and 3346.
    ResourceDefinition(5535, "Calibration Offset", OPERATIONS["RW"], ResourceType.FLOAT),
    # Location (3336) 1.x, which BIPSO sends; version 2.0 has 6051, 6052 and 6053 instead.
    ResourceDefinition(5514, "Latitude", Operations.READ, ResourceType.STRING),
    ResourceDefinition(5515, "Longitude", Operations.READ, ResourceType.STRING),
    ResourceDefinition(5516, "Uncertainty", Operations.READ, ResourceType.STRING),
]

_OPERATIONS = {operations: text for text, operations in OPERATIONS.items()}


def facts(resource: ResourceDefinition) -> list[Any]:
    """What a resource is wherever it occurs: name, operations, type, range, units."""
    listed: list[Any] = [resource.name, _OPERATIONS[resource.operations], resource.type.value]
    listed += [resource.range and list(resource.range), resource.units]
    while not listed[-1] and len(listed) > 3:
        listed.pop()
    return listed


def cardinality(resource: ResourceDefinition) -> str:
    """How often its object has it: 1, 0..1, 1..*, 0..*."""
    wanted = {"mandatory": resource.mandatory, "multiple": resource.multiple}
    return next(text for text, entry in CARDINALITIES.items() if entry == wanted)


def reusable(objects: Iterable[ObjectDefinition]) -> dict[int, list[Any]]:
    """The facts of every reusable resource; they must be the same in all objects."""
    found = {resource.id: facts(resource) for resource in EXTRA}
    for definition in objects:
        for resource in definition.resources.values():
            if resource.id < FIRST_REUSABLE:
                continue
            if found.setdefault(resource.id, facts(resource)) != facts(resource):
                sys.exit(f"object {definition.id} has another meaning of {resource.id}")
    return dict(sorted(found.items()))


def line(value: object) -> str:
    """The value on one line."""
    return json.dumps(value, ensure_ascii=False)


def members(entries: Iterable[tuple[int, str]], indent: str) -> str:
    """The members of a JSON object, one a line."""
    return ",\n".join(f'{indent}"{key}": {text}' for key, text in entries)


def entry(definition: ObjectDefinition) -> str:
    """An object: its own facts, the reusable resources that it has, and its private ones."""
    resources = definition.resources.values()
    head = {
        "name": definition.name,
        "urn": definition.urn,
        "version": definition.version,
        "multiple": definition.multiple,
        "reusable": {r.id: cardinality(r) for r in resources if r.id >= FIRST_REUSABLE},
    }
    private = [
        (r.id, line([cardinality(r), *facts(r)])) for r in resources if r.id < FIRST_REUSABLE
    ]
    inside = f"\n{members(private, '    ')}\n  " if private else ""
    return f'{line(head)[:-1]}, "private": {{{inside}}}}}'


def document(objects: Iterable[ObjectDefinition]) -> str:
    """The whole file: a header, one line a reusable resource, one line or more an object."""
    objects = sorted(objects, key=lambda definition: definition.id)
    shared = [(id, line(listed)) for id, listed in reusable(objects).items()]
    return "\n".join(
        [
            json.dumps(HEADER, indent=1)[:-2] + ",",
            ' "reusable": {',
            members(shared, "  ") + "\n },",
            ' "objects": {',
            members(((d.id, entry(d)) for d in objects), "  ") + "\n }\n}\n",
        ]
    )


def main(folder: Path, output: Path) -> None:
    """Reads every DDF file of the folder; the first bad one ends it."""
    objects = []
    for path in sorted(folder.glob("*.xml")):
        try:
            objects.append(parse_ddf(path.read_bytes()))
        except DecodeError as error:
            sys.exit(f"{path}: {error}")
    output.write_text(document(objects), encoding="utf-8")
    print(f"{output}: {len(objects)} objects")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
