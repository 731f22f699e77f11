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
    names = sorted({name for line in watched for name in line["watched"]})
    sides = sorted({name.partition(" at ")[2] for name in names})  # a panel for each resolution
    tall = max(4.5, 1 + 0.16 * len(names) / max(1, len(sides)))  # room for the legend
    figure, axes = pyplot.subplots(
        1, 1 + len(sides), figsize=(6 + 7 * len(sides), tall), squeeze=False, layout="constrained"
    )
    seen = [line["seen"] for line in steps]
    skip = {"step", "seen", "speed", "minutes", "minutes_left", "rate", "skipped", "broken", "norm"}
    for name in [k for k in (steps[-1] if steps else {}) if k not in skip]:
        axes[0][0].plot(seen, [line.get(name) for line in steps], label=name, lw=2 if name == "loss" else 1)
    axes[0][0].set(xlabel="images seen", yscale="log", title=folder.name)
    axes[0][0].legend(fontsize=7)
    for panel, side in zip(axes[0][1:], sides):
        for i, name in enumerate(name for name in names if name.partition(" at ")[2] == side):
            points = [(line["step"], line["watched"][name]) for line in watched if name in line["watched"]]
            style = ("-", "--", ":")[i // 10 % 3]  # there are ten colours and more tasks
            panel.plot(*zip(*points), style, marker=".", label=name.partition(" at ")[0], lw=1)
        panel.set(xlabel="step", ylim=(0, 1.02), title=f"watched, right{side and f', {side} pixels'}")
        panel.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1.02))
    figure.savefig(folder / "curve.png", dpi=90)
    pyplot.close(figure)


if __name__ == "__main__":
    draw(pathlib.Path(sys.argv[1]))
