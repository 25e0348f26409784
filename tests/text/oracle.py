# SPDX-License-Identifier: Apache-2.0
"""What other programs make of the cases of test_scores.c: one function a kind.

ROUGE, BLEU, chrF++, the stemmer, exact_match and the filters are rouge_score, sacrebleu, nltk and lm_eval themselves;
the normalisations of SQuAD and TriviaQA, repetition and extraction are Python of our own, written from their definitions
and made to be obvious rather than fast.
"""

import collections
import re
import string
import unicodedata

import ifeval
import numpy as np
from lm_eval.api.metrics import exact_match_hf_evaluate
from lm_eval.filters.extraction import RegexFilter, WhitespaceFilter
from lm_eval.tasks.squad_completion.task import contains_score
from nltk.stem import porter
from rouge_score import rouge_scorer, tokenize
from sacrebleu.metrics import BLEU, CHRF

STEMMER = porter.PorterStemmer()
ROUGE_NAMES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
SCORERS = {stemmer: rouge_scorer.RougeScorer(ROUGE_NAMES, use_stemmer=stemmer) for stemmer in (False, True)}


# ---- normalisation ----


def without_articles(text):
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def squad(text):
    return without_articles("".join(c for c in text.lower() if c not in string.punctuation))


def triviaqa(text):
    separators = string.punctuation + "\u2018\u2019\u00b4`"
    return without_articles("".join(" " if c in separators else c for c in text.replace("_", " ").lower()))


def harness(text, case):
    for pattern in case.get("ignore", []):
        text = re.sub(pattern, "", text)
    if case.get("ignore_case"):
        text = text.lower()
    if case.get("ignore_punctuation"):
        text = "".join(c for c in text if c not in string.punctuation)
    if case.get("ignore_numbers"):
        text = "".join(c for c in text if c not in string.digits)
    return text


def normalized(text, case):
    kind = case["normalize"]
    if kind == "harness":
        return harness(text, case)
    if kind == "llm_kick":
        return text.lower().replace(" ", "")
    return {"none": str, "squad": squad, "triviaqa": triviaqa}[kind](text)


# ---- answers ----


def token_f1(prediction, reference):
    prediction, reference = prediction.split(), reference.split()
    if not prediction or not reference:
        return float(prediction == reference)
    same = sum((collections.Counter(prediction) & collections.Counter(reference)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(prediction), same / len(reference)
    return 2 * precision * recall / (precision + recall)


def exact(prediction, reference, case):
    if case["normalize"] != "harness":
        return float(normalized(prediction, case) == normalized(reference, case))
    options = {key: case.get(key, False) for key in ("ignore_case", "ignore_punctuation", "ignore_numbers")}
    scores = exact_match_hf_evaluate(
        predictions=[prediction], references=[reference], regexes_to_ignore=case.get("ignore"), **options
    )
    return float(scores["exact_match"])


def contains(prediction, reference):
    """The harness's SQuAD completion has a pattern for this, which ignores case in its own way beyond ASCII."""
    found = reference.lower() in prediction.lower()
    if (prediction + reference).isascii() and found != contains_score(prediction, [reference]):
        raise ValueError(f"contains_score disagrees on {prediction!r} and {reference!r}")
    return float(found)


def is_boundary(char):
    return char.isspace() or char in string.punctuation or unicodedata.category(char).startswith("P")


def contains_word(prediction, reference):
    before, found, behind = prediction.lower().partition(reference.lower())
    return float(bool(found) and all(is_boundary(char) for char in before[-1:] + behind[:1]))


def numbers(text):
    pattern = r"(-?)((?:[0-9]{1,3}(?:,[0-9]{3}(?![0-9]))+|[0-9]*)(?:\.[0-9]+)?)"
    return [float(digits.replace(",", "")) * (-1 if sign else 1) for sign, digits in re.findall(pattern, text) if digits]


def contains_number(prediction, reference):
    wanted = numbers(reference)[:1]
    return float(any(abs(number - wanted[0]) <= 1e-4 for number in numbers(prediction) if wanted))


def answers(case):
    best = [0.0] * 6
    prediction = normalized(case["prediction"], case)
    for raw in case["references"]:
        reference = normalized(raw, case)
        both = prediction != "" and reference != ""
        scores = [
            exact(case["prediction"], raw, case),
            float(both and (reference in prediction or prediction in reference)),
            contains(prediction, reference) if both else 0.0,
            token_f1(prediction, reference),
            contains_word(prediction, reference) if both else 0.0,
            contains_number(prediction, reference) if both else 0.0,
        ]
        best = [max(pair) for pair in zip(best, scores)]
    return best


# ---- ROUGE ----


def rouge(case):
    if not case["references"]:
        return [0.0] * 12
    scores = SCORERS[case["stemmer"]].score_multi(case["references"], case["prediction"])
    return [float(value) for name in ROUGE_NAMES for value in scores[name]]


def rouge_words(case):
    return tokenize.tokenize(case["text"], STEMMER if case["stemmer"] else None)


# ---- translations ----

TOKENIZERS = ("13a", "zh", "char", "none")
SENTENCE_BLEU = {name: BLEU(tokenize=name, effective_order=True, force=True) for name in TOKENIZERS}
CORPUS_BLEU = {name: BLEU(tokenize=name, force=True) for name in TOKENIZERS}
CHRF_PLUS_PLUS = CHRF(word_order=2)


def bleu(case):
    scorer = SENTENCE_BLEU[case["tokenizer"]]
    words = scorer._preprocess_segment(case["prediction"]).split()
    score = scorer.sentence_score(case["prediction"], case["references"])
    counts = [score.sys_len, score.ref_len, *score.counts, *score.totals]
    return [words, [float(count) for count in counts], score.score]


def chrf(case):
    references = CHRF_PLUS_PLUS._extract_reference_info(case["references"])
    counts = CHRF_PLUS_PLUS._compute_segment_statistics(case["prediction"], references)
    score = CHRF_PLUS_PLUS.sentence_score(case["prediction"], case["references"])
    return [[float(count) for count in counts], score.score]


def corpus(case):
    predictions = [text["prediction"] for text in case["texts"]]
    references = [list(column) for column in zip(*(text["references"] for text in case["texts"]))]
    scorers = (CORPUS_BLEU[case["texts"][0]["tokenizer"]], CHRF_PLUS_PLUS)
    return [scorer.corpus_score(predictions, references).score for scorer in scorers]


# ---- repetition and extraction ----


def n_grams(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def repetition(case):
    words = case["text"].split()
    scores = []
    for n in (1, 2, 3, 4):
        grams = n_grams(words, n)
        scores.append(1 - len(set(grams)) / len(grams) if grams else 0.0)
    for n in (1, 2):
        scores.append(len(set(n_grams(words, n))) / len(words) if words else 0.0)
    suffixes = [k for k in range(1, len(words)) if tuple(words[-k:]) in n_grams(words, k)[:-1]]
    return scores + [max(suffixes, default=0)]


def extraction(case):
    source, summary = (tokenize.tokenize(case[key], None) for key in ("source", "summary"))
    if not summary:
        return [0.0] * 6
    fragments, at = [], 0
    while at < len(summary):
        length = 0
        while at + length < len(summary) and tuple(summary[at : at + length + 1]) in n_grams(source, length + 1):
            length += 1
        fragments.append(length)
        at += max(length, 1)
    scores = [sum(fragments), sum(length**2 for length in fragments), len(source)]
    scores = [score / len(summary) for score in scores]
    for n in (1, 2, 3):
        grams, known = n_grams(summary, n), set(n_grams(source, n))
        scores.append(sum(gram not in known for gram in grams) / len(grams) if grams else 0.0)
    return scores


# ---- patterns, filters, checks ----


def replace(case):
    try:
        return re.sub(case["pattern"], lambda match: case["by"], case["text"])
    except (re.error, OverflowError):
        return {"error": ""}


def regex_filter(case):
    group, select = case.get("group", 0), -1 if case.get("last") else 0
    if group == 0:
        try:
            chosen = RegexFilter(case["pattern"], group_select=select)
        except re.error:
            return {"error": ""}
        return chosen.apply([[case["text"]]], [{}])[0][0]
    found = [match.group(group) or "" for match in re.finditer(case["pattern"], case["text"])]
    return found[select].strip() if found else "[invalid]"


def output_filter(case):
    text = case["text"]
    if case["filter"] == "regex":
        return regex_filter(case)
    if case["filter"] == "strip":
        return WhitespaceFilter().apply([[text]], [{}])[0][0]
    return text.split("\n")[0].strip() if case["filter"] == "first_line" else text


def ends_sentence(text):
    text = text.strip().rstrip("\"')]}*\u00bb\u2019\u201d\u300d\u300f\uff09")
    return text.endswith((".", "!", "?", "\u2026", "\u3002", "\uff01", "\uff0e", "\uff1f", "\uff61"))


def check(case):
    text = case["text"]
    return {
        "max_words": lambda: len(text.split()) <= case["words"],
        "min_words": lambda: len(text.split()) >= case["words"],
        "regex": lambda: re.search(case["pattern"], text) is not None,
        "equals": lambda: text.strip() == case["value"].strip(),
        "sentence_end": lambda: ends_sentence(text),
        "not_empty": lambda: text.strip() != "",
    }[case["check"]]()


KINDS = {
    "lower": lambda case: case["text"].lower(),
    "trim": lambda case: case["text"].strip(),
    "split": lambda case: case["text"].split(),
    "stem": lambda case: [STEMMER.stem(word) for word in case["text"].split()],
    "rouge_words": rouge_words,
    "replace": replace,
    "filter": output_filter,
    "normalize": lambda case: normalized(case["text"], case),
    "answers": answers,
    "rouge": rouge,
    "bleu": bleu,
    "chrf": chrf,
    "corpus": corpus,
    "repetition": repetition,
    "extraction": extraction,
    "check": check,
    "instruction": ifeval.followed,
}


def expected(case):
    return KINDS[case["kind"]](case)


def difference(got, wanted):
    """The largest difference of numbers; infinity where anything else is not the same."""
    if isinstance(wanted, dict) or isinstance(got, dict):
        return 0.0 if isinstance(wanted, dict) and isinstance(got, dict) else np.inf
    if isinstance(wanted, float) or (isinstance(wanted, int) and not isinstance(wanted, bool)):
        return abs(got - wanted)
    if isinstance(wanted, list) and isinstance(got, list) and len(got) == len(wanted):
        return max((difference(a, b) for a, b in zip(got, wanted)), default=0.0)
    return 0.0 if got == wanted else np.inf
