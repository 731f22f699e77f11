"""The curves of a run: log.jsonl -> curve.png."""

import json
import pathlib
import sys


def draw(folder: pathlib.Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    watched = [line for line in lines if "watched" in line]
    figure, axes = pyplot.subplots(1, 2 if watched else 1, figsize=(13 if watched else 6, 4), squeeze=False)
    seen = [line["seen"] for line in steps]
    skip = {"step", "seen", "speed", "minutes_left", "rate", "skipped", "broken", "norm"}
    for name in [k for k in (steps[-1] if steps else {}) if k not in skip]:
        axes[0][0].plot(seen, [line.get(name) for line in steps], label=name, lw=2 if name == "loss" else 1)
    axes[0][0].set(xlabel="images seen", yscale="log", title=folder.name)
    axes[0][0].legend(fontsize=7)
    for i, name in enumerate(sorted({k for line in watched for k in line["watched"]})):
        points = [(line["step"], line["watched"][name]) for line in watched if name in line["watched"]]
        style = ("-", "--", ":")[i // 10 % 3]  # there are ten colours and more tasks
        axes[0][1].plot(*zip(*points), style, marker=".", label=name, lw=1)
    if watched:
        axes[0][1].set(xlabel="step", ylim=(0, 1.02), title="watched, right")
        axes[0][1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1.02))
    figure.tight_layout()
    figure.savefig(folder / "curve.png", dpi=90)
    pyplot.close(figure)


if __name__ == "__main__":
    draw(pathlib.Path(sys.argv[1]))
