"""What the packing of prompts and the data sources promise."""

import gzip
import io
import json
import random
import tarfile

import numpy as np
import pytest
import torch
from conftest import DECODER, ENCODER
from recipe import tars
from recipe.model import VisionLanguage
from recipe.sources import Llava, Mixture, Painted, Synthetic, WebDataset, square, turns_of
from recipe.text import Packer
from PIL import Image
from tokenizers import Tokenizer

TURNS = [("What is this?", "A dog."), ("How many dogs are there?", "3"), ("Read the word.", "Quay")]


def learnt(packed: dict, tokenizer: Tokenizer) -> list[str]:
    return [
        tokenizer.decode(packed["aims"][i][packed["learn"][i]].tolist(), skip_special_tokens=False)
        for i in range(len(packed["ids"]))
    ]


def test_only_answers_are_learnt(tokenizer_file):
    tokenizer = Tokenizer.from_file(tokenizer_file)
    packer = Packer(tokenizer)
    rows = [packer.row(TURNS, 4, linked) for linked in (False, True)] + [packer.row(TURNS[:1], 0, True)]
    texts = learnt(packer.pack(rows), tokenizer)
    assert texts[0] == texts[1] == "A dog.<|im_end|>3<|im_end|>Quay<|im_end|>"
    assert texts[2] == "A dog.<|im_end|>"


def test_the_guide_knows_every_step_of_pointing_and_where_to_look(tokenizer_file):
    from recipe.guide import pointing_steps
    from synth import pointing, world

    dog, at = world.NAMES.index("dog"), [(0.9, 0.1), (0.1, 0.7), (0.2, 0.1)]
    scene = {"things": [{"name": dog, "at": list(point)} for point in at]}
    turns = [*TURNS, ("Here, how many cakes are there?", "0"), ("How many lines are there?", "2")]
    packer = Packer(Tokenizer.from_file(tokenizer_file))
    said = pointing.pointed(scene, turns)
    assert [answer.count("<|row") for _, answer in said] == [0, 3, 0, 0, 0]
    for linked in (False, True):
        ids, _, _, learn = packer.row(said, 4, linked)
        steps = pointing_steps(scene, turns, learn)
        looks = [*[at[2]] * 2, *[at[0]] * 2, *[at[1]] * 2, (-1, -1), (-1, -1)]
        assert [step[1:] for step in steps] == [(*look, True) for look in looks]
        following = packer.tokenizer.decode([ids[place + 1] for place, *_ in steps], skip_special_tokens=False)
        assert following == "".join(f"<|row {y}|><|column {x}|>" for y, x in ((0, 1), (0, 7), (5, 0))) + "30"
        cut = steps[1][0] + 1
        assert pointing_steps(scene, turns, learn[:cut]) == steps[:2]


def answers_of(tokenizer_file):
    from recipe.answers import Answers

    config = {"seed": 1, "start": {}, "train": {"fast_cpu": False}, "out": "none"}
    config["model"] = {"tokenizer": tokenizer_file, "encoder": ENCODER | {"branches": "folded"}, "decoder": DECODER}
    config["data"] = {"kind": "synthetic", "length": 4, "side": 128}
    return Answers(config)


def test_places_are_blurred_in_training_anew_every_epoch_and_exact_when_watched(tokenizer_file):
    from synth import pointing, world

    objective, dog = answers_of(tokenizer_file), world.NAMES.index("dog")
    things = [{"name": dog, "at": [(x + 0.5) / 8, 0.37]} for x in range(8)]  # beside the border of two rows
    sample = {"scene": {"things": things}, "turns": TURNS[1:2], "linked": False, "index": 3}
    sample["pixels"] = objective.source.sample(0)["pixels"]

    def pointed(epoch):
        ids = objective.collate([sample | {"epoch": epoch}])["ids"][0].tolist()
        return [token for token in map(objective.tokenizer.id_to_token, ids) if token in pointing.PLACES]

    exact = [token for column in range(8) for token in ("<|row 2|>", f"<|column {column}|>")]
    assert pointed(0) == pointed(0) and len({tuple(pointed(epoch)) for epoch in range(4)} | {tuple(exact)}) == 5
    objective.module.eval()
    assert pointed(0) == pointed(1) == exact
    told = {"turns": TURNS[1:2], "linked": False, "pixels": sample["pixels"]}
    assert objective.collate([told])["ids"].shape[0] == 1  # without a scene there is nothing to point at


def test_a_slip_is_seen_but_not_learnt_and_the_number_stays_true(tokenizer_file, monkeypatch):
    from synth import pointing, world

    objective, dog = answers_of(tokenizer_file), world.NAMES.index("dog")
    things = [{"name": dog, "at": [0.3 * i + 0.2, 0.3 * i + 0.2]} for i in range(3)]
    sample = {"scene": {"things": things}, "turns": TURNS[1:2], "linked": False, "index": 3}
    sample["pixels"] = objective.source.sample(0)["pixels"]
    monkeypatch.setattr(pointing, "BLUR", 0)
    monkeypatch.setattr(pointing, "SLIP", 1)

    def collated(slip):
        monkeypatch.setattr(pointing, "SLIPS", [slip])
        batch = objective.collate([sample])
        said = [objective.tokenizer.id_to_token(i) for i in batch["ids"][0].tolist()]
        return sum(token.startswith("<|row") for token in said), learnt(batch, objective.tokenizer)[0]

    cells = [f"<|row {i}|><|column {i}|>" for i in (1, 4, 6)]
    for slip, left in (("late", cells[0] + cells[2]), ("last", cells[0]), ("again", "".join(cells)), ("astray", "")):
        assert collated(slip) == (6 if slip == "again" else 3, left + "3<|im_end|>"), slip
    things.append({"name": world.NAMES.index("cake"), "at": [0.6, 0.2]})  # before the second dog
    assert collated("taken") == (4, "".join(cells) + "3<|im_end|>")


def test_answers_are_those_of_greedy_decoding_of_each_question_alone(tokenizer_file):
    tokenizer = Tokenizer.from_file(tokenizer_file)
    objective = answers_of(tokenizer_file)
    network = objective.module.model.eval()
    torch.nn.init.normal_(network.decoder.get_input_embeddings().weight)
    samples = [objective.source.sample(i) for i in range(3)]
    told = iter(objective.answers(network, samples))
    for sample in samples:
        for question, _ in sample["turns"]:
            ids = objective.packer.row([(question, "")], 4, False)[0][:-1]
            start = len(ids)
            for _ in range(3):
                row = ids, [0] * len(ids), list(range(len(ids))), [False] * len(ids)
                batch = objective.collate([sample]) | objective.packer.pack([row])
                with torch.no_grad():
                    ids.append(int(network.logits(network.hidden(batch)[0][0, -1]).argmax()))
                if ids[-1] == objective.packer.end[0]:
                    break
            assert next(told).startswith(tokenizer.decode(ids[start:]).rstrip("\ufffd"))
    assert next(told, None) is None


def test_the_prompt_is_the_runtimes_chat_template(tokenizer_file):
    tokenizer = Tokenizer.from_file(tokenizer_file)
    ids = Packer(tokenizer).row(TURNS[:2], 1, True)[0]
    assert tokenizer.decode(ids, skip_special_tokens=False) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<image>\nWhat is this?"
        "<|im_end|>\n<|im_start|>assistant\nA dog.<|im_end|>\n<|im_start|>user\nHow many dogs are there?"
        "<|im_end|>\n<|im_start|>assistant\n3<|im_end|>"
    )


def test_a_packed_question_is_answered_as_if_it_were_asked_alone(tokenizer_file):
    tokenizer = Tokenizer.from_file(tokenizer_file)
    packer = Packer(tokenizer)
    settings = {"encoder": ENCODER | {"branches": "multi", "layer_scale": 0.1}, "decoder": DECODER}
    network = VisionLanguage(settings, tokenizer).eval()
    pixels = torch.randint(0, 256, (1, 128, 128, 3), dtype=torch.uint8)

    def logits(turns, linked):
        batch = packer.pack([packer.row(turns, 4, linked)]) | {"pixels": pixels}
        hidden, _ = network.hidden(batch)
        return network.logits(hidden[batch["learn"]])

    with torch.no_grad():
        together = logits(TURNS, False)
        alone = torch.cat([logits([turn], True) for turn in TURNS])
    assert torch.allclose(together, alone, atol=1e-5)


def test_llava_moves_the_image_to_the_front_and_keeps_text_only_samples(llava):
    source = Llava(str(llava / "all-good.json"), side=128)
    assert source.sample(0)["pixels"] is None
    assert source.sample(1)["pixels"].shape == (128, 128, 3)
    assert source.sample(1)["turns"][0] == ("What is this?", "A cat.")


def test_a_conversation_that_would_be_taken_for_something_else_is_refused():
    def said(*texts):
        return [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(texts)]

    assert turns_of(said("<image>\nWhat is this?", " A dog. "), True) == [("What is this?", "A dog.")]
    for told, pictured, wrong in (
        (said("What?", "A dog.", "And this?"), True, "no answer"),
        (said("<image>\nWhat?", "A dog."), False, "has no image"),
        (said("What?", "An <image>."), True, "<image> in the text"),
        (said("What?<|im_end|>", "A dog."), True, "<|im_end|> in the text"),
        (said("What?", " "), True, "empty"),
        ([], True, "no turn"),
    ):
        with pytest.raises(ValueError, match=wrong.replace("|", r"\|")):
            turns_of(told, pictured)


def test_a_picture_is_turned_as_its_camera_says_and_a_long_strip_is_refused():
    picture, turned = Image.new("RGB", (64, 32), "red"), Image.Exif()
    picture.paste("blue", (0, 0, 32, 32))
    turned[0x0112] = 6  # to be turned clockwise by a quarter
    written = io.BytesIO()
    picture.save(written, "PNG", exif=turned)
    seen = square(Image.open(written), 64)
    assert seen[8, 32].tolist() == [0, 0, 255] and seen[56, 32].tolist() == [255, 0, 0]
    assert seen[32, 4].tolist() == [0, 0, 0]
    picture.save(broken := io.BytesIO(), "PNG", exif=b"Exif\0\0garbage!")
    assert square(Image.open(broken), 64)[32, 8].tolist() == [0, 0, 255]
    with pytest.raises(ValueError, match="60000 x 2 pixels"):
        square(Image.new("RGB", (60_000, 2)), 64)


def test_samples_of_a_tar_are_told_apart_by_the_names_of_their_files(tmp_path, llava):
    picture = (llava / "1.png").read_bytes()
    files = {"./v1.0/a.PNG": picture, "./v1.0/a.txt": b"one", "./v1.0/b.png": picture, "./v1.0/b.txt": b"two"}
    files |= {"./v2.0/a.png": picture, "./v2.0/a.txt": b"three", "./v2.0/a.json": b'{"width": 9}', "./v2.0/c.txt": b"alone"}
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        tar.add(llava, "./v1.0", recursive=False)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    source = WebDataset(str(tmp_path), side=64)
    assert [source.sample(i)["text"] for i in range(3)] == ["one", "two", "three"] and len(source) == 4
    assert all(source.sample(i)["pixels"].shape == (64, 64, 3) for i in range(3))
    with pytest.raises(ValueError, match="no image"):
        source.sample(3)


def tar_of(path, names: list[str]) -> None:
    with tarfile.open(path, "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))


def contents_of(path) -> list[list[bytes]]:
    held = tars.Tars(str(path))
    return [[tars.part(place) for place in held.parts(i).values()] for i in range(len(held))]


def test_headers_of_a_tar_are_read_once(tmp_path, monkeypatch):
    tar_of(tmp_path / "0.tar", ["a.txt", "a.json", "b.txt"])
    tar_of(tmp_path / "1.tar", [])
    tar_of(tmp_path / "2.tar", ["c.txt", "d.jpg", "d.txt"])
    wanted = [[b"a.txt", b"a.json"], [b"b.txt"], [b"c.txt"], [b"d.txt", b"d.jpg"]]
    read, headers = [], tars.headers
    monkeypatch.setattr(tars, "headers", lambda tar: read.append(tar.name) or headers(tar))
    assert contents_of(tmp_path) == wanted and contents_of(tmp_path) == wanted
    assert read == ["0.tar", "1.tar", "2.tar"]
    # Again where the tar is another one, or what was kept is broken.
    tar_of(tmp_path / "0.tar", ["e.txt", "f.txt", "g.txt"])
    (tmp_path / "2.tar.index.npz").write_bytes(b"PK garbage")
    assert contents_of(tmp_path) == [[b"e.txt"], [b"f.txt"], [b"g.txt"], *wanted[2:]]
    assert contents_of(tmp_path / "2.tar") == wanted[2:]
    assert read[3:] == ["0.tar", "2.tar"]


def test_a_tar_where_nothing_can_be_written_is_read_all_the_same(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(tars.np, "savez", full)
    tar_of(tmp_path / "0.tar", ["a.txt"])
    assert contents_of(tmp_path) == [[b"a.txt"]] == contents_of(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["0.tar"]


def test_half_a_tar_is_refused_by_its_name(tmp_path):
    tar_of(tmp_path / "0.tar", ["a.txt", "b.txt"])
    whole = (tmp_path / "0.tar").read_bytes()
    odd = whole[:1024] + b"?" + whole[1025:]
    for broken in (b"", b"no tar", whole[:100], whole[:514], whole[:1200], odd, gzip.compress(whole)):
        (tmp_path / "1.tar").write_bytes(broken)
        with pytest.raises(ValueError, match="1.tar: "):
            tars.Tars(str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no sample in any .tar"):
        tars.Tars(str(tmp_path / "empty"))


def test_what_does_not_fit_into_a_sequence_is_told(tokenizer_file):
    objective = answers_of(tokenizer_file)
    sample = {"turns": TURNS, "linked": True, "pixels": None}
    whole = len(objective.packer.whole(TURNS, 0, True)[0])
    assert objective.check(sample) is None
    objective.packer.longest = whole - 2
    assert objective.check(sample) == f"cut from {whole} tokens to {whole - 2}"
    objective.packer.longest = 12
    with pytest.raises(ValueError, match="no answer within data.longest, 12 of"):
        objective.check(sample)
    # Drawn scenes as well, with what is said to point at things, and with stored features.
    drawn = next(s for s in map(Synthetic(length=50, side=128).sample, range(50)) if objective.said(s) != s["turns"])
    shown = drawn | {"pixels": None, "features": {256: np.zeros((16, 4)), 512: np.zeros((64, 4))}}
    for scene, tokens in ((drawn, 4), (shown, 64)):
        whole = len(objective.packer.whole(objective.said(scene), tokens, scene["linked"])[0])
        objective.packer.longest = whole
        assert objective.check(scene) is None
        objective.packer.longest = whole - 1
        assert objective.check(scene) == f"cut from {whole} tokens to {whole - 1}"


def test_a_tokenizer_without_the_prompts_tokens_is_refused(tokenizer_file, tmp_path):
    written = json.loads(open(tokenizer_file).read())
    written["added_tokens"] = [t for t in written["added_tokens"] if t["content"] != "<|im_end|>"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(written))
    with pytest.raises(ValueError, match=r"no token <\|im_end\|>"):
        answers_of(str(tmp_path / "tokenizer.json"))


def test_a_mixture_keeps_its_shares(llava):
    llava_source = Llava(str(llava / "all-good.json"), side=128)
    mixture = Mixture([(llava_source, 0.25), (Synthetic(length=36, side=128), 0.75)])
    kinds = ["scene" in mixture.sample(i) for i in range(len(mixture))]
    assert sum(kinds) == 3 * (len(kinds) - sum(kinds))


def test_the_first_epoch_goes_from_window_to_window_or_over_all_shards():
    from recipe.engine import Order

    def halves(window):
        source = Painted("nowhere", "train", 4, 50, 64, window=window)
        order = Order(len(source), 20, 1, source.window)
        steps = [[index for _, index in step] for step in order.steps(0, 10, 0, 1)]
        assert sorted(sum(steps, [])) == list(range(200))
        return [sum(index < 100 for index in step) for step in steps]

    assert halves(2) == [20] * 5 + [0] * 5
    assert all(2 < half < 18 for half in halves(0))
    with pytest.raises(ValueError, match="data.window is -1"):
        Painted("nowhere", "train", 4, 50, 64, window=-1)


def test_a_sample_is_a_function_of_its_index_and_the_epoch():
    one, two = Synthetic(length=10, side=128), Synthetic(length=10, side=128)
    for index in random.sample(range(10), 3):
        first = one.sample(index, 1)
        again = two.sample(index, 1)
        assert (first["pixels"] == again["pixels"]).all() and first["turns"] == again["turns"]
        other = two.sample(index, 2)
        assert other["turns"] != first["turns"] or (other["pixels"] != first["pixels"]).any()
