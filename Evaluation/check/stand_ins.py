"""Runs one part of `make evaluate-check`: lmms-eval's tasks with a stand-in for the model, or with the model.

The stand-ins answer in the place of the engine, behind the same requests: an oracle with each document's own answer, and a
constant that is wrong everywhere.

    stand_ins.py oracle DATA OUTPUT --requests chat
"""

import argparse
import pathlib
import types

from fastvlm.harness import use_data

#: What is no right answer to any question of data.py.
WRONG = "E"


def gold(task: str, document: dict) -> str:
    """The right answer to a document, as its task wants it."""
    task = task.split("_llava")[0].split("_v0_2_2")[0]
    answer = document.get("answer")
    if task in ("ai2d", "scienceqa_img"):
        return "ABCDE"[int(answer)]
    if task == "textvqa_val":
        return max(document["answers"], key=document["answers"].count)
    if task == "docvqa_val":
        return document["answers"][0]
    if task == "ocrbench":
        return answer[0]
    return str(answer)


def stand_in(kind: str, base: type) -> type:
    """A model class whose answers come from elsewhere."""

    class StandIn(base):
        def answer_all(self, jobs, total):
            for job in jobs:
                split = next(iter(self.task_dict[job.task]))
                text = gold(job.task, self.task_dict[job.task][split][job.document]) if kind == "oracle" else WRONG
                usage = types.SimpleNamespace(prompt_tokens=0, cached_tokens=0)
                yield types.SimpleNamespace(text=text, finish_reason="stop", usage=usage)

    return StandIn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["oracle", "wrong", "model"])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path, help="folder for result.json and samples")
    parser.add_argument("--requests", choices=["simple", "chat"], default="simple")
    parser.add_argument("--tasks", default="today,paper")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--precision")
    parser.add_argument("--image-size", type=int)
    options = parser.parse_args()
    output, model = options.output.absolute(), options.model
    use_data(options.data)
    from fastvlm.harness import _run, _table

    base = _run.adapter_class(options.requests)
    chosen = {"precision": options.precision, "image_size": options.image_size}
    adapter = (base if options.kind == "model" else stand_in(options.kind, base))(
        model, progress=False, **{key: value for key, value in chosen.items() if value is not None})
    result = _run.evaluate(adapter, options.tasks.split(","), samples=output / "samples")
    _run.write_result(output / "result.json", result)
    print(_table.table(result))


if __name__ == "__main__":
    main()
