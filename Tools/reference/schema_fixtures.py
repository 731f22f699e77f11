#!/usr/bin/env python3
"""Makes Tests/Fixtures/schemas/cases.json: JSON schemas, texts, and whether Python's jsonschema finds them valid.

Schemas are of the keywords that the runtime supports; texts are values near to what they allow, written as the runtime
writes JSON: members in the order in which a schema lists them, one space behind colons and commas or none.

Run from the root of the repository:
    python Tools/reference/schema_fixtures.py
"""

import argparse
import hashlib
import json
import random
from importlib.metadata import version
from pathlib import Path

import jsonschema

DEFAULT = Path(__file__).resolve().parents[2] / "Tests" / "Fixtures" / "schemas"
# Objects list their members in this order, in schemas and in values.
NAMES = ["a", "name", "é", "with \"quotes\"", "n", "z"]
STRINGS = ["", "a", "ab", "abc", "a1", "b22", "hello", "日本", "😀😀", "line\nbreak", "back\\slash", "\"", "é", "2024-02-29",
           "2023-02-29", "1999-12-31", "24:00:00Z", "12:30:00Z", "2024-02-29T12:30:00Z", "127.0.0.1", "256.1.1.1",
           "123e4567-e89b-12d3-a456-426614174000", "x" * 12]
PATTERNS = ["^a", "b$", "^[a-z]+$", "[0-9]{2}", "^(ab|a1|é)$", "^.{2,5}$", "\\\\", "\"|\\n", "^\\D+$"]
FORMATS = ["date", "ipv4", "uuid"]


def whole(value):
    """JSON has one kind of number; written without a point where there is nothing behind it."""
    return int(value) if value == int(value) else value


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def schema(self, depth):
        pick = self.random.choice
        if depth and self.random.random() < 0.7:
            kind = pick(["object"] * 3 + ["array"] * 2 + ["any"] * 2)
        else:
            kind = pick(["string", "length", "pattern", "format", "integer", "number", "enum", "types", "ref"])
        number = self.random.randint
        if kind == "object":
            names = [name for name in NAMES if self.random.random() < 0.5]
            return {"type": "object", "properties": {name: self.schema(depth - 1) for name in names},
                    "required": [name for name in names if self.random.random() < 0.5],
                    "additionalProperties": False}
        if kind == "array":
            least = number(0, 2)
            return {"type": "array", "items": self.schema(depth - 1), "minItems": least, "maxItems": least + number(0, 2)}
        if kind == "any":
            return {"anyOf": [self.schema(depth - 1) for _ in range(number(1, 3))]}
        if kind == "string":
            return {"type": "string"}
        if kind == "length":
            least = number(0, 3)
            return {"type": "string", "minLength": least, "maxLength": least + number(0, 3)}
        if kind == "pattern":
            return {"type": "string", "pattern": pick(PATTERNS)}
        if kind == "format":
            return {"type": "string", "format": pick(FORMATS)}
        if kind in ("integer", "number"):
            scale = 1 if kind == "integer" else 4
            low, high = sorted([number(-20, 20) / scale, number(-20, 20) / scale + 5])
            low, high = whole(low), max(whole(high), whole(low) + 2)
            return {"type": kind, pick(["minimum", "exclusiveMinimum"]): low, pick(["maximum", "exclusiveMaximum"]): high}
        if kind == "enum":
            return {"enum": self.random.sample(["a", "ab", 1, -2.5, None, True, [1, "x"], {"a": [None]}], number(1, 4))}
        if kind == "types":
            return {"type": self.random.sample(["string", "null", "boolean", "integer"], 2)}
        return {"$ref": "#/$defs/tree"}

    def value(self, schema, depth=4):
        """Mostly what the schema asks for, and sometimes anything."""
        pick = self.random.choice
        if self.random.random() < 0.03 or depth == 0:
            return pick([None, True, 0, -7, 2.25, pick(STRINGS), [], {}, [1], {"a": 1}])
        if "$ref" in schema:
            return {"n": self.random.randint(0, 3), "z": self.value(schema, depth - 1) if self.random.random() < 0.5 else None}
        if "anyOf" in schema:
            return self.value(pick(schema["anyOf"]), depth)
        if "enum" in schema:
            return pick(schema["enum"])
        kind = schema["type"] if isinstance(schema["type"], str) else pick(schema["type"])
        if kind == "object":
            chosen = [name for name in schema["properties"]
                      if self.random.random() < (0.95 if name in schema["required"] else 0.5)]
            result = {name: self.value(schema["properties"][name], depth - 1) for name in chosen}
            if self.random.random() < 0.05:
                result["zz"] = 1
            return result
        if kind == "array":
            count = self.random.randint(schema["minItems"], schema["maxItems"])
            if self.random.random() < 0.1:
                count = max(0, count + pick([-1, 1]))
            return [self.value(schema["items"], depth - 1) for _ in range(count)]
        if kind == "integer":
            low = schema.get("minimum", schema.get("exclusiveMinimum", -20))
            high = schema.get("maximum", schema.get("exclusiveMaximum", 20))
            return self.random.randint(low - 1, high + 1)
        if kind == "number":
            low = schema.get("minimum", schema.get("exclusiveMinimum", -20))
            high = schema.get("maximum", schema.get("exclusiveMaximum", 20))
            return whole(self.random.randint(int(4 * low) - 1, int(4 * high) + 1) / 4)
        return {"string": pick(STRINGS), "null": None, "boolean": self.random.random() < 0.5}[kind]


TREE = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 2},
                                         "z": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]}},
        "required": ["n", "z"], "additionalProperties": False}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=DEFAULT)
    parser.add_argument("--schemas", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    maker = Maker(options.seed)
    cases = []
    for _ in range(options.schemas):
        schema = maker.schema(3) | {"$defs": {"tree": TREE}}
        if "$ref" in schema:
            schema = {"anyOf": [{"$ref": schema["$ref"]}], "$defs": schema["$defs"]}
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
        texts = {}
        for _ in range(24):
            value = maker.value(schema)
            separators = maker.random.choice([(",", ":"), (", ", ": ")])
            texts[json.dumps(value, ensure_ascii=False, separators=separators)] = validator.is_valid(value)
        cases.append({"schema": json.dumps(schema, ensure_ascii=False),
                      "valid": sorted(text for text, valid in texts.items() if valid),
                      "invalid": sorted(text for text, valid in texts.items() if not valid)})
    options.output.mkdir(parents=True, exist_ok=True)
    data = (json.dumps(cases, ensure_ascii=False, indent=0) + "\n").encode()
    (options.output / "cases.json").write_bytes(data)
    entry = {"file": "cases.json", "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data),
             "generator": "Tools/reference/schema_fixtures.py", "jsonschema": version("jsonschema")}
    (options.output / "MANIFEST.json").write_text("[\n" + json.dumps(entry) + "\n]\n")
    print(sum(len(case["valid"]) for case in cases), "valid,", sum(len(case["invalid"]) for case in cases), "invalid")


if __name__ == "__main__":
    main()
