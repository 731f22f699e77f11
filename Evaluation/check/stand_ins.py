"""One part of the check: lmms-eval's tasks with a stand-in for the model, or with the model.

The stand-ins answer in the place of the engine, behind the same requests: an oracle with each document's own answer, and a
constant that is wrong everywhere.
"""

import pathlib
import types

from fastvlm.harness import _run

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


def run(kind: str, requests: str, tasks: str, output: pathlib.Path) -> None:
    """Writes result.json and samples; the data lies in the current folder."""
    base = _run.adapter_class(requests)
    adapter = (base if kind == "model" else stand_in(kind, base))("embedded", threads=1, progress=False)
    result = _run.evaluate(adapter, tasks.split(","), samples=output / "samples")
    _run.write_result(output / "result.json", result)
    adapter.engine.close()
