"""Varied strings for the tokenizer fixtures: many scripts, emoji, marks, white space, code, oddities."""

import sys
import unicodedata

# Escapes are those of Python; they are resolved after the lines are cut.
SENTENCES = r"""The quick brown fox jumps over the lazy dog; it doesn't care, and they'll say we're "done".
<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n
<|im_end|>\n<|im_start|>assistant\n
\nWhat are these?<|im_end|>\nDescribe the image.
What is written on the sign? Describe the image in detail, please.
Dans la forêt, l'élève naïf a mangé une crêpe à Noël; où êtes-vous allés hier soir?
Die Straßenbahn fährt über die Brücke, während Müllers größter Kürbis wächst.
El niño pingüino soñó con mañanas más cálidas. ¿Qué pasó? ¡Increíble!
Sınıfta İstanbul'un ışıkları ve ılık çay. Güzel bir gün, değil mi?
Zażółć gęślą jaźń. Příliš žluťoučký kůň úpěl ďábelské ódy. Árvíztűrő tükörfúrógép.
Съешь же ещё этих мягких французских булок, да выпей чаю. Ой, йод!
Ο ταχύς αλεπού πηδάει πάνω από τον τεμπέλη σκύλο. Ἐν ἀρχῇ ἦν ὁ λόγος.
אני אוהב ללמוד שפות חדשות. בְּרֵאשִׁית בָּרָא אֱלֹהִים
مرحبا بالعالم! كيف حالك اليوم؟ بِسْمِ اللَّهِ الرَّحْمَٰنِ الرَّحِيمِ ١٢٣٤٥
नमस्ते दुनिया, क्या हाल है? क्षत्रिय श्रीमान् ४५६७ रुपये
বাংলা ভাষা খুব সুন্দর। কেমন আছো? কো কৌ ৭৮৯
தமிழ் மொழி மிகவும் பழமையானது. கொ கோ கௌ ௧௨௩
తెలుగు అందమైన భాష. ಕನ್ನಡ ಸುಂದರ ಭಾಷೆ. മലയാളം മനോഹരം. සිංහල භාෂාව කෝ
ภาษาไทยไม่มีช่องว่างระหว่างคำ น้ำ กำลัง ๑๒๓ ลาว: ພາສາລາວ ຂະໜາດ
བོད་སྐད་ནི་གཞན་ལས་ཁྱད་པར་ཆེ། မြန်မာဘာသာ ကော ភាសាខ្មែរ
今天天气很好,我们去公园看熊猫吧。这张图片里有什么?第123号,价格¥4567.89元。
吾輩は猫である。名前はまだ無い。ガギグゲゴ ｶﾞｷﾞｸﾞ ガギ 「東京タワー」へ行こう!
안녕하세요, 오늘 날씨가 좋네요. 한국어 각간갇갈 뷁 ㄱㄴㄷ ㅏㅑ 1,234원
𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝕞𝕒𝕥𝕙 𝟙𝟚𝟛 ①②③ ⅷⅸ ½¾ x² + y³ = z⁴ ∑∏∫√∞≠≤ Ⅳ ₃ ㊿ 〇
ℌ Å Å Ω Ω K K ŀ ſtar 'ſ 'ſe it'S I'M you'Re we'VE she'LL he'D 'tis rock'n'roll o'reilly
ქართული ენა. Հայերեն լեզու. አማርኛ ቋንቋ. ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ. ᐃᓄᒃᑎᑐᑦ. ꦗꦮ ᬩᬮᬶ
e\u0301 a\u0308\u0323 o\u0323\u0308 q\u0307\u0323 Z\u0351\u036b\u0343\u036aa\u030al\u0347g\u0322\u0321o\u0315
\u1100\u1161\u11a8 \u1112\u1161\u11ab\u1100\u1173\u11af \uac00\u11a8 \u0958 \u09cb \u09c7\u09be \ufb1d \u2126
👩‍👩‍👧‍👦 👨🏽‍💻 🏳️‍🌈 🏴‍☠️ 🇩🇪🇯🇵 👍🏿 ❤️‍🔥 🤷🏻‍♀️ 1️⃣ #️⃣ ☺️ ☺ 🧑‍🚀 🏴󠁧󠁢󠁥󠁮󠁧󠁿
def main(argv: list[str]) -> int:\n    for i in range(10):\n\t\tprint(f"{i:>3}", end="\\n")\n    return 0\n
#include <stdio.h>\r\nint main(void) {\r\n  printf("%d\\n", 42); /* ok */\r\n  return 0x7fff;\r\n}\r\n
let x = items.map { $0.count }.filter { $0 > 1 } ?? []\n// TODO(swift): why?\nguard x != nil else { return }
SELECT id, COUNT(*) FROM users WHERE name LIKE '%O''Brien%' GROUP BY id HAVING COUNT(*) >= 2;
{"key": [1, 2.5e-3, null, true], "path": "C:\\\\temp\\\\x.txt", "u": "\\u00e9\\ud83d\\ude00\\x", "e": "\\q\\u12"}
https://example.org/a_b-c/?q=1&r=%20%E4%BD%A0#frag mailto:john.doe+tag@example.co.uk 192.168.0.1 ::1
<div class="box">&nbsp;&amp;<br/></div><!-- c --> <image> <|im_start|>user <|im_end|> </s> [INST] <tool_call>{}
3.14159265358979 1,000,000 12:34:56 2024-02-29T23:59:59Z +49 (0)30 123456-7 1e10 0b1010 50% $9.99 €5 №7
||||---====____~~~~....!!!!???? ::::,,,;;; '"'"'"' (((()))) [[[]]] {{{}}} <<<>>> \\\\\\\\ //// @@@ ###\n###\r\n""".split("\n")
SENTENCES = [s.encode("ascii", "backslashreplace").decode("unicode_escape") for s in SENTENCES]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\n\n", " \n", "\n ", "\u00a0", "\u3000", "\u2028", "\u2029",
          "\u0085", "\x0b", "\x0c", "\u200b", "\ufeff", "\u1680", "\u2003", "\u202f", "\u205f", "\u180e", "\u2060"]
EMOJI = list("😀😂🤖🐼🚀🍕👍👩👨👧🧑💻🏳🌈🔥🏽🏿❤♀♂☠1#") + ["\u200d", "\ufe0f", "\u20e3", "🇩", "🇯", "🇵", "🇺", "🇸"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'vE", "'M", "'lL", "'D", "'\u017f",
                "'r", "'v", "'l", "''s", "\u2019s", "'\u212a", "'sa", "' s", "'\n", "'1"]
MARKS = [chr(c) for c in range(0x300, 0x370)] + [
    "\u05b0", "\u05bc", "\u0651", "\u064b", "\u093c", "\u094d", "\u0e38", "\u0f71", "\u302a", "\u3099", "\u309a",
    "\u1dc0", "\u20d0", "\ufe20", "\u07fd", "\u0c3c", "\u1ac1", "\U0001d165", "\U00011938", "\u0345", "\u0334"]
BASES = list("aeiouAEIOUncsqxzKÅåøØ") + ["\u0928", "\u09c7", "\u0bc6", "\u1100", "\u1161", "\u11a8", "\uac00", "\uac01", "\u304b",
                                       "\u30cf", "\u03b1", "\u0438", "\u0627", "\u1ea0", "\u01d5", "\U000105d2"]
BY_CATEGORY = {}
for _c in range(0x110000):
    if not 0xD800 <= _c < 0xE000:
        BY_CATEGORY.setdefault(unicodedata.category(chr(_c)), []).append(_c)
CATEGORIES = sorted(BY_CATEGORY)


def corpus():
    return list(SENTENCES)


def any_scalar(rng):
    while True:
        c = rng.randrange(0x110000)
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def category_scalar(rng):
    return chr(rng.choice(BY_CATEGORY[rng.choice(CATEGORIES)]))


def low_scalar(rng):
    return chr(rng.choice([rng.randrange(0x80), rng.randrange(0x800), rng.randrange(0x800, 0xD800)]))


def slice_of(rng, text, longest=60):
    start = rng.randrange(len(text))
    return text[start:start + rng.randrange(1, longest)]


def joined(rng, choose, longest):
    return "".join(choose() for _ in range(rng.randrange(1, longest)))


def random_string(rng):
    """One string of a random kind."""
    kind = rng.randrange(12)
    if kind == 0:
        return joined(rng, lambda: any_scalar(rng), 12)
    if kind == 1:
        return joined(rng, lambda: category_scalar(rng), 14)
    if kind == 2:
        return joined(rng, lambda: low_scalar(rng), 16)
    if kind == 3:
        return joined(rng, lambda: rng.choice(EMOJI), 14)
    if kind == 4:
        return joined(rng, lambda: rng.choice(BASES) + joined(rng, lambda: rng.choice(MARKS), 5), 5)
    if kind == 5:
        return joined(rng, lambda: rng.choice(SPACES) + rng.choice(["", "", "a", "1", "!", "é", "'s"]), 14)
    if kind == 6:
        return joined(rng, lambda: rng.choice(["", "it", " we", "X", "1", "中"]) + rng.choice(CONTRACTIONS), 6)
    if kind == 7:
        return joined(rng, lambda: rng.choice("0123456789٠४½Ⅳ²一") * rng.randrange(1, 4) + rng.choice(["", " ", ".", "-"]), 8)
    if kind == 8:
        return rng.choice([" ", "a", "\n", "-", "😀", "e\u0301", "0", "=", "中", "\u0301", "ab"]) * rng.randrange(1, 70)
    if kind == 9:
        return joined(rng, lambda: rng.choice("!?.,;:-_=+*/\\|<>()[]{}@#$%^&~`'\"") * rng.randrange(1, 5)
                      + rng.choice(["", "", " ", "\n", "\r\n", "x"]), 8)
    if kind == 10:
        return rng.choice(["", " ", "\n"]).join(slice_of(rng, rng.choice(SENTENCES), 25) for _ in range(rng.randrange(2, 5)))
    text = slice_of(rng, rng.choice(SENTENCES))
    return rng.choice([text, text.upper(), text.title(), unicodedata.normalize("NFD", text), text[::-1]])


def varied_strings(rng, tokens, specials, count=5400):
    """`count` different strings: the sentences, strings of vocabulary tokens, specials inside text, random kinds."""
    strings = dict.fromkeys(["", *SENTENCES])
    for sentence in SENTENCES:
        strings[unicodedata.normalize("NFD", sentence)] = None
        strings[unicodedata.normalize("NFKC", sentence)] = None
    for scalar in list(range(0x180)):
        strings[f"a{chr(scalar)}b {chr(scalar)} {chr(scalar)}{chr(scalar)}"] = None
    while len(strings) < count:
        kind = rng.random()
        if kind < 0.15:
            raw = b"".join(rng.choice(tokens) for _ in range(rng.randrange(1, 6)))
            text = raw.decode("utf-8", "ignore")[:80]
        elif kind < 0.25:
            parts = [rng.choice(specials + ["<|im_", "start|>", "<", "|>", "\n"]) if rng.random() < 0.5
                     else slice_of(rng, rng.choice(SENTENCES), 12) for _ in range(rng.randrange(1, 6))]
            text = "".join(parts)
        else:
            text = random_string(rng)
        strings[text] = None
    return list(strings)


if __name__ == "__main__":
    sys.exit("used by tokenizer_fixtures.py")
