#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares test_scores with the reference programs on many cases and prints the largest difference of every kind.

Usage: compare_reference.py TEST_SCORES     (data: ../shared of the source tree, or $WINNOW_SHARED)

Cases: 1,000 pairs for ROUGE and as many answers, from SciTLDR, XQuAD and NQ-open; all words of these and WikiText-2 for
the stemmer; every code point for lower case and the classes of patterns; random patterns; random texts for the rest.
Exit status 77 where the data or rouge_score, nltk and lm_eval are absent.
"""

import collections
import json
import logging
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import warnings

try:
    import lm_eval  # noqa: F401
    import nltk  # noqa: F401
    import rouge_score  # noqa: F401
    import sacrebleu  # noqa: F401
except ImportError as missing:
    print(f"skipped: {missing} (set WINNOW_PYTHON to a Python that has rouge_score, sacrebleu, nltk and lm_eval)")
    sys.exit(77)

import ifeval
import oracle
from make_golden import NASTY, random_text, translation_cases

TOLERANCE = 1e-9
LEAST_SAME = 0.75
SHARED = pathlib.Path(os.environ.get("WINNOW_SHARED") or pathlib.Path(__file__).resolve().parents[3] / "shared")


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def garbled(text, draw):
    """The text as a compressed model might give it: words lost, doubled, swapped for others, other case, cut."""
    words = text.split()
    out = []
    for word in words:
        chance = draw.random()
        if chance < 0.1:
            continue
        out.append(word.upper() if chance < 0.15 else draw.choice(words) if chance < 0.25 else word)
        if chance > 0.95:
            out.append(draw.choice(["\n", word, "the", "-", "caf\u00e9", "U.S."]))
    return " ".join(out[: draw.randint(0, len(out))] if draw.random() < 0.3 else out)


def rouge_cases(data, draw):
    summaries = lines(data / "scitldr/scitldr_a_test.jsonl")
    paragraphs = [p for a in json.loads((data / "xquad/xquad.en.json").read_text())["data"] for p in a["paragraphs"]]
    for at in range(1000):
        if at % 4 == 3:
            text = draw.choice(paragraphs)["context"]
            references, prediction = [text.replace(". ", ".\n")], garbled(text, draw).replace(". ", ".\n")
        else:
            item = draw.choice(summaries)
            lead = "\n".join(item["source"][: 1 + at % 5])
            references, prediction = item["target"], lead if at % 2 else garbled(lead, draw)
        yield {"kind": "rouge", "stemmer": at % 2 == 0, "references": references, "prediction": prediction}


def bleu_cases(data, draw):
    """Texts of people with texts that resemble them, in English and in what the tokenizers treat specially."""
    paragraphs = [p for a in json.loads((data / "xquad/xquad.en.json").read_text())["data"] for p in a["paragraphs"]]
    for at in range(300):
        texts = []
        for _ in range(1 + at % 7):
            reference = draw.choice(paragraphs)["context"]
            prediction = garbled(reference, draw)
            references = [reference, garbled(reference, draw)] if at % 2 else [reference]
            texts.append({"tokenizer": ["13a", "zh", "char", "none"][at % 4], "prediction": prediction, "references": references})
        yield {"kind": "bleu", **texts[0]}
        yield {"kind": "chrf", **texts[0]}
        yield {"kind": "corpus", "texts": texts}
    yield from translation_cases(draw, 2000)


def instruction_cases(draw):
    try:
        ifeval.registry()
    except ImportError as missing:
        print(f"instructions of IFEval left out: {missing}")
        return
    logging.disable(logging.ERROR)  # of texts without a language
    yield from ifeval.cases(draw, 250)
    documents = [line["text"] for line in lines(SHARED / "data/webtext/common_crawl_docs.jsonl")]
    for document in documents:
        for part in document.split("\n\n")[:20]:
            count = max(1, part.count(". ") + part.count("? ") + 1)
            for number in (count - 1, count, count + 1):
                case = {"kind": "instruction", "number": number, "relation": "at least", "text": part}
                yield {**case, "id": "length_constraints:number_sentences"}
                yield {**case, "id": "change_case:capital_word_frequency"}
            yield {"kind": "instruction", "id": "language:response_language", "texts": ["en"], "text": part}


def is_guess(case):
    """What nltk and langdetect decide by models, we by rules: most answers are to be equal."""
    return case["kind"] == "instruction" and case["id"] in ifeval.BY_MODEL


def answer_cases(data, draw):
    items = [(q["question"], q["answer"]) for q in lines(data / "nq_open/NQ-open.dev.jsonl")]
    for article in json.loads((data / "xquad/xquad.en.json").read_text())["data"]:
        for paragraph in article["paragraphs"]:
            items += [(q["question"], [a["text"] for a in q["answers"]]) for q in paragraph["qas"]]
    for at in range(1000):
        question, references = draw.choice(items)
        prediction = draw.choice(references)
        if at % 3:
            prediction = garbled(f"{draw.choice(['The', 'an', 'It is', question])} {prediction}.", draw)
        case = {"kind": "answers", "references": references, "prediction": prediction}
        case["normalize"] = ["none", "harness", "squad", "triviaqa", "llm_kick"][at % 5]
        if case["normalize"] == "harness":
            case.update({key: draw.random() < 0.5 for key in ("ignore_case", "ignore_punctuation", "ignore_numbers")})
            case["ignore"] = draw.choice([[], [r"\b(?:The |the |An |A |The |a |an )"], [",", r"\$", r"(?s).*#### ", r"\.$"]])
        yield case


def word_cases(data):
    text = (data / "wikitext2/wiki.test.raw").read_text(encoding="utf-8")
    for name in ("scitldr/scitldr_a_test.jsonl", "nq_open/NQ-open.dev.jsonl", "xquad/xquad.en.json"):
        text += (data / name).read_text(encoding="utf-8")
    words = sorted({word for word in oracle.tokenize.tokenize(text, None)})
    suffixes = "s es ies ed ied eed ing ings ational tional enci izer bli alli entli eli ousli ization ation alism"
    suffixes += " iveness fulness fulli logi icate ative alize iciti ical ful ness ance er ement ment ent ion ou e ll y"
    words += [word + suffix for word in words[::20] for suffix in suffixes.split()]
    for start in range(0, len(words), 500):
        yield {"kind": "stem", "text": " ".join(words[start : start + 500])}


def code_point_cases():
    codes = [code for code in range(1, 0x110000) if not 0xD800 <= code <= 0xDFFF]
    for start in range(0, len(codes), 4096):
        text = "".join(map(chr, codes[start : start + 4096]))
        spaced = "a" + "a".join(text) + "a"
        yield {"kind": "lower", "text": text}
        yield {"kind": "lower", "text": "\u03a3".join(text)}
        yield {"kind": "lower", "text": "A\u03a3A\u03a3 ".join(text)}
        yield {"kind": "split", "text": spaced}
        yield {"kind": "normalize", "normalize": "triviaqa", "text": "a" + "a".join(text)}
        for pattern in (r"\w+", r"\W", r"\s", r"\S", r"\d", r"\D", r"[\W]", r"[\S]", r"[\s\d]", r"[^\w\s]", r"\b", r".", r"\B"):
            yield {"kind": "replace", "pattern": pattern, "by": "|", "text": text}


def pattern_cases(draw):
    """Patterns put together at random from what patterns are made of; many are wrong, in both programs alike."""
    atoms = list("ab.^$|()[]{}*+?\\-,0123 \u00e9")
    atoms += r"\b \d \s \W \Z \A \1 \n (?: (?i) (?= (?! (?P<n> (?s: (?<= (?#c) (?> {2} {,2} {1,} {,} {} [^ [a- ]] x? *?".split()
    for _ in range(20000):
        pattern = "".join(draw.choice(atoms) for _ in range(draw.randint(1, 6)))
        text = "".join(draw.choice("aabbx01 \n-é{}^]") for _ in range(draw.randint(0, 12)))
        yield {"kind": "replace", "pattern": pattern, "by": "|", "text": text}
        yield {"kind": "filter", "filter": "regex", "pattern": pattern, "text": text, "last": draw.random() < 0.5}


def text_cases(draw):
    for at in range(400):
        text = draw.choice(NASTY) if at % 4 == 0 else random_text(draw, draw.randint(0, 60))
        yield {"kind": "repetition", "text": text}
        yield {"kind": "extraction", "source": random_text(draw, 80), "summary": text}
        yield {"kind": "rouge_words", "stemmer": True, "text": text}
        for kind in ("none", "squad", "triviaqa", "llm_kick"):
            yield {"kind": "normalize", "normalize": kind, "text": text}


def run(program, cases):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(case, ensure_ascii=False) + "\n" for case in cases)
        file.flush()
        result = subprocess.run([program, file.name], check=True, capture_output=True, text=True, encoding="utf-8")
    return [json.loads(line) for line in result.stdout.split("\n") if line]


def main():
    program = sys.argv[1]
    if not (SHARED / "data").is_dir():
        print("skipped: ../shared is absent (set WINNOW_SHARED to its path)")
        sys.exit(77)
    warnings.simplefilter("ignore", FutureWarning)  # of re, about patterns like [[
    draw = random.Random(7)
    groups = {
        "ROUGE": list(rouge_cases(SHARED / "data", draw)),
        "BLEU": list(bleu_cases(SHARED / "data", random.Random(8))),
        "answers": list(answer_cases(SHARED / "data", draw)),
        "stemmer": list(word_cases(SHARED / "data")),
        "code points": list(code_point_cases()),
        "patterns": list(pattern_cases(draw)),
        "texts": list(text_cases(draw)),
        "instructions": list(instruction_cases(random.Random(9))),
    }
    failed, guesses = 0, collections.defaultdict(list)
    for name, cases in groups.items():
        if not cases:  # said why, where they are made
            continue
        worst, counts = 0.0, collections.Counter()
        for case, got in zip(cases, run(program, cases)):
            wanted = oracle.expected(case)
            apart = oracle.difference(got, wanted)
            counts[case["kind"]] += 1
            if is_guess(case):
                guesses[case["id"]].append(apart == 0)
                continue
            worst = max(worst, apart)
            if apart > TOLERANCE:
                failed += 1
                if failed <= 20:
                    print(f"{str(case)[:600]}\n  gives    {str(got)[:300]}\n  expected {str(wanted)[:300]}", file=sys.stderr)
        amounts = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        if name == "stemmer":
            amounts = f"{sum(len(case['text'].split()) for case in cases)} words"
        print(f"{name:12} worst difference {worst:g}  ({amounts})")
    for name, same in guesses.items():
        print(f"{name:38} {sum(same)} of {len(same)} as nltk and langdetect have it")
        failed += sum(same) < LEAST_SAME * len(same)
    print(f"{failed} cases apart")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
