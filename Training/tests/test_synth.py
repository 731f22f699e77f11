"""What the synthetic data promises."""

import json
import random
import re
import subprocess
import sys

import numpy as np
from conftest import ROOT
from PIL import Image
from synth import questions, world
from synth.scenes import SHARES, Painter


def scenes(number: int, held: bool = False, seed: int | None = None):
    trained, kept = world.words()
    seed = random.randrange(10**6) if seed is None else seed
    painter = Painter(seed, kept if held else trained, invented=0 if held else 0.15, held=held)
    return [painter.paint() for _ in range(number)]


def test_a_seed_gives_the_same_pixels_again():
    for (image, scene), (again, same) in zip(scenes(12, seed=11), scenes(12, seed=11), strict=True):
        assert scene == same and (np.array(image) == np.array(again)).all()


def test_words_and_numbers_of_the_held_out_side_are_never_trained():
    trained, kept = world.words()
    assert not set(trained) & set(kept) and len(kept) > 2000
    for held in (False, True):
        for _, scene in scenes(150, held):
            for text in scene["texts"]:
                if len(text["text"]) > 2 and not (
                    text["text"].isalpha() and not held
                ):  # invented words may be any
                    assert world.is_held_out(text["text"]) == held, text


def test_held_out_phrasings_use_only_words_that_are_trained():
    def words(which: int) -> set[str]:
        return {
            w
            for pair in questions.PHRASINGS.values()
            for p in pair[which]
            for w in re.findall("[A-Za-z]+", p)
        }

    assert words(1) <= words(0) | set(" ".join(questions.ENDINGS).split())
    for trained, held in questions.PHRASINGS.values():
        assert not set(trained) & set(held)
        beginnings = {o + p[0].lower() + p[1:] for o in questions.OPENINGS for p in trained}
        assert not beginnings & set(held)


def test_answers_follow_from_the_scene():
    rng = random.Random()
    asked = 0
    for _, scene in scenes(120):
        facts = questions.Facts(scene)
        for task in facts.possible():
            question, answer = questions.ask(facts, task, rng, held=rng.random() < 0.5)
            assert "{" not in question and answer
            asked += 1
            if task == "count":
                assert int(answer) == max(facts.count.values(), default=0) or int(answer) <= world.MOST + 3
            if task == "read":
                assert answer == scene["texts"][0]["text"]
    assert asked > 400


def test_yes_and_no_are_balanced():
    rng = random.Random(4)
    said = []
    for _, scene in scenes(300):
        facts = questions.Facts(scene)
        if facts.count:
            said += [questions.ask(facts, "exists", rng)[1] for _ in range(4)]
    assert 0.45 < said.count("Yes.") / len(said) < 0.55


def test_every_family_is_drawn_and_things_lie_inside():
    seen = set()
    for _, scene in scenes(250):
        seen.add(scene["family"])
        for thing in scene["things"]:
            assert all(0 <= v <= 1 for v in thing["at"]) and thing["size"] > 0
        for text in scene["texts"]:
            assert len(text["signs"]) == len(text["text"])
            assert all(-0.02 <= v <= 1.02 for at in text["signs"] for v in at)
    assert seen == {family for family, share in SHARES.items() if share}


def test_most_kinds_of_a_crowd_are_counted():
    painter, rng = Painter(5, world.words()[0]), random.Random(5)
    there, asked = 0, 0
    for _ in range(40):
        facts = questions.Facts(painter.paint("crowd")[1])
        assert 2 <= len(facts.count) <= 5 and sum(facts.count.values()) <= 14
        for name, number in facts.count.items():
            turns = questions.several(facts.scene, 6, rng)
            there += 1
            asked += any(f" {questions.many(name)}" in q and a == str(number) for q, a in turns)
    assert asked > 0.6 * there, f"{asked} of {there}"


def test_groups_can_be_large_ones_only():
    painter = Painter(6, world.words()[0], most=10)
    painter.fewest = 7
    largest = {max(questions.Facts(painter.paint("group")[1]).count.values()) for _ in range(30)}
    assert largest == {7, 8, 9, 10}


def test_two_drawing_styles_and_enough_kinds_and_typefaces():
    painter = Painter(1, world.words()[0])
    assert len(world.KINDS) >= 200 and len(set(world.NAMES)) == len(world.NAMES)
    assert sum(d is not None for d in painter.drawings) > 190
    families = {path.rsplit("/", 1)[1].split("-")[0] for path in painter.faces}
    assert len(families) >= 25


def test_the_suite_is_drawn_again_byte_for_byte_and_shares_nothing_with_training(tmp_path):
    sums = []
    for name in ("one", "two"):
        command = [sys.executable, "-m", "synth.suite", "--out", str(tmp_path / name), "--items", "4"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        sums.append((tmp_path / name / "sha256").read_text())
    assert sums[0] == sums[1]
    trained = {p for known, _ in questions.PHRASINGS.values() for p in known}
    for path in (tmp_path / "one").glob("*.jsonl"):
        for line in path.read_text().splitlines():
            item = json.loads(line)
            assert (tmp_path / "one" / item["image"]).exists() and item["text"] not in trained
            if path.stem == "reading" and len(item["answer"]) > 2:
                assert world.is_held_out(item["answer"])


def test_shards_of_chosen_families(tmp_path):
    command = [sys.executable, "-m", "synth.shards", "--split", "train", "--shards", "1", "--size", "12"]
    command += ["--out", str(tmp_path), "--side", "320", "--families"]
    subprocess.run([*command, "word=1", "group=3"], cwd=ROOT, check=True, capture_output=True)
    lines = (tmp_path / "train-000.jsonl").read_text().splitlines()
    assert {json.loads(line)["family"] for line in lines} <= {"word", "group"} and len(lines) == 12
    assert (tmp_path / "train-000.bin").stat().st_size == 12 * 320 * 320 * 3
    wrong = subprocess.run([*command, "wrod=1"], cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode == 2 and "wrod" in wrong.stderr and "word" in wrong.stderr


def test_shards_of_several_folders_are_linked_in_turns(tmp_path):
    for folder, number in (("many", 3), ("few", 1)):
        (tmp_path / folder).mkdir()
        for shard in range(number):
            for kind in ("bin", "jsonl"):
                (tmp_path / folder / f"train-{shard:03d}.{kind}").write_text(f"{folder} {shard} {kind}")
    command = [sys.executable, "-m", "synth.collect", "--out", str(tmp_path / "all")]
    folders = [str(tmp_path / "many"), str(tmp_path / "few")]
    done = subprocess.run([*command, *folders], cwd=ROOT, check=True, capture_output=True, text=True)
    assert "data.shards=4" in done.stdout
    found = [(tmp_path / "all" / f"train-{i:03d}.bin").read_text() for i in range(4)]
    assert found == ["many 0 bin", "few 0 bin", "many 1 bin", "many 2 bin"]
    assert (tmp_path / "all" / "train-001.jsonl").read_text() == "few 0 jsonl"
    for wrong, told in ((folders, "there already"), ([str(tmp_path)], "no training shards")):
        refused = subprocess.run([*command, *wrong], cwd=ROOT, capture_output=True, text=True)
        assert refused.returncode == 2 and told in refused.stderr


def test_large_scenes_may_be_enlarged_small_ones():
    def detail(image) -> float:
        """What is lost in halving and doubling, the share of pixels that change by more than noise does."""
        half = image.resize((image.width // 2,) * 2, Image.Resampling.BICUBIC)
        again = half.resize(image.size, Image.Resampling.BICUBIC)
        return float((np.abs(np.asarray(image, int) - np.asarray(again, int)) > 24).mean())

    painter = Painter(random.randrange(10**6), world.words()[0], side=512)
    painter.chance = lambda share: False  # no noise, blur or JPEG
    plain = [detail(painter.paint("word")[0]) for _ in range(6)]
    painter.chance = lambda share: share == 0.5
    enlarged = [detail(painter.paint("word")[0]) for _ in range(6)]
    assert np.mean(enlarged) < 0.5 * np.mean(plain)


def test_a_number_of_things_is_pointed_at_in_reading_order():
    from synth import pointing

    dog, cake = (world.NAMES.index(name) for name in ("dog", "cake"))
    at = [(dog, (0.99, 0.3)), (cake, (0.3, 0.3)), (dog, (0.1, 0.36)), (dog, (0.5, 0.0)), (dog, (1.0, 1.02))]
    scene = {"things": [{"name": name, "at": list(point)} for name, point in at]}
    turns = [("How many dogs are there?", "4"), ("Is there a dog?", "Yes."), ("Count the cats.", "0")]
    places = "".join(f"<|row {y}|><|column {x}|>" for y, x in ((0, 4), (2, 0), (2, 7), (7, 7)))
    assert pointing.pointed(scene, turns) == [(turns[0][0], places + "4"), *turns[1:]]
    assert questions.many(pointing.counted("How many glasses of wine are there?", "2")) == "glasses of wine"
    assert pointing.counted("How many lines are there?", "2") is None


def test_a_thing_near_a_border_is_seen_in_either_cell_and_comes_in_the_order_of_where_it_is_seen(monkeypatch):
    from synth import pointing

    monkeypatch.setattr(pointing, "SLIP", 0)
    things = [{"name": 0, "at": [0.9, 0.124]}, {"name": 0, "at": [0.1, 0.18]}]
    turns = [(f"How many {questions.many(0)} are there?", "2")]
    first = "<|row 0|><|column 7|><|row 1|><|column 0|>2"
    assert pointing.pointed({"things": things}, turns)[0][1] == first
    scenes = [pointing.blurred({"things": things, "texts": []}, random.Random(seed)) for seed in range(400)]
    said = [pointing.pointed(scene, turns)[0][1] for scene in scenes]
    assert 120 < said.count(first) < 280
    assert 40 < sum(answer.startswith("<|row 1|><|column 0|><|row 1|>") for answer in said) < 200
    off = [v - w for scene in scenes for t in scene["things"] for v, w in zip(t["seen"], t["at"])]
    assert 0.9 * pointing.BLUR < np.std(off) < 1.1 * pointing.BLUR
    assert all([t["at"] for t in scene["things"]] == [t["at"] for t in things] for scene in scenes)


def test_places_are_special_tokens_that_decoding_leaves_out(tmp_path):
    from synth import pointing
    from synth.tokenizer import build

    tokenizer = build()
    ids = tokenizer.encode("".join(pointing.PLACES[:9]) + "9").ids
    assert len(ids) == 10 and tokenizer.decode(ids) == "9"
