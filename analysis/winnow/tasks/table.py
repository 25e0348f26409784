# SPDX-License-Identifier: Apache-2.0
"""The tasks: where they come from, how they are asked, how they are scored. One row each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from winnow.tasks import choice, constraints, generated, retrieval, scored
from winnow.tasks.source import Doc, Source

CALIBRATION = "calibration"  # pairs of prompt and response instead of requests
GUESS = "1/choices"  # chance level of an accuracy: the mean share of choices that are right

_SHORT_ANSWER = {
    "stop": ["\n", ".", ","],
    "max_tokens": 32,
    "filter": "strip",
    "normalize": "harness",
    "ignore_case": True,
    "ignore_punctuation": True,
}
_MATCHES = ("exact_match", "em_relaxed", "f1")
_ROUGE = ("rougeL", "rouge1", "rouge2", "rougeLsum")


@dataclasses.dataclass(frozen=True)
class Task:
    """A row of the table. ``item`` gets a document and returns an item without examples."""

    name: str
    item: Callable[[Doc], dict[str, Any]]
    reads: str  # what the authors publish, for people
    origin: str  # recorded in the file: authors, licence
    dimension: str
    metrics: tuple[str, ...]
    kind: str = "multiple_choice"
    read: Callable[[Source], Iterator[Doc]] = choice.read_lines
    chance: float | str | None = None
    header: dict[str, Any] = dataclasses.field(default_factory=dict)
    delimiter: str | None = None  # where it is not the format's own
    # Few-shot examples.
    examples: Callable[[Source], Iterator[Doc]] | None = None  # in the same source; else documents
    shots: int = 0
    rule: str = "derived"
    one_more: bool = False  # the harness has no test split here, and draws one to spare
    grouped: bool = False  # examples come from the same group
    between: str = "\n\n"  # behind an example
    description: Callable[[Doc], str] | None = None  # in front of all
    # Options of some tasks.
    modes: tuple[str, ...] = ()
    front: str | None = None  # the file beside the source with the text in front of every question
    template: Callable[[Doc], str] | None = None  # the prompt of instruction-tuned models


def _arc(name: str) -> Task:
    return Task(
        name,
        choice.arc,
        reads="ARC-...-Test.jsonl of the authors, or JSON lines or Parquet of the data hub",
        origin="ARC (Clark et al. 2018), CC BY-SA 4.0",
        dimension="reasoning",
        metrics=("acc", "acc_norm"),
        chance=GUESS,
    )


def _truthfulqa(name: str, item: Callable[[Doc], dict[str, Any]], metric: str) -> Task:
    return Task(
        name,
        item,
        reads="TruthfulQA.csv or mc_task.json, and qa_preset.txt (the six pairs of the QA preset)",
        origin="TruthfulQA (Lin et al. 2022), Apache-2.0",
        dimension="alignment",
        metrics=(metric,),
        read=choice.read_truthfulqa,
        chance=GUESS if metric == "acc" else None,
        front="qa_preset.txt",
    )


def _gsm8k(name: str, regex: str, group: int, match: str) -> Task:
    return Task(
        name,
        generated.gsm8k,
        reads="test.jsonl; examples (--pool) from train.jsonl",
        origin="GSM8K (Cobbe et al. 2021), MIT",
        dimension="arithmetic",
        metrics=("exact_match",),
        kind="generation",
        chance=0.0,
        header={
            "stop": ["Question:", "</s>", "<|im_end|>"],
            "max_tokens": 256,
            "filter": {"regex": regex, "group": group, "match": match},
            "normalize": "harness",
            "ignore_case": True,
            "ignore": [",", r"\$", r"\.$"],
        },
        shots=5,
    )


def _instructions(name: str, item: Callable[[Doc], dict[str, Any]], **rest: Any) -> Task:
    return Task(
        name,
        item,
        reads="JSON list or JSON lines: instruction, input, output (or response, or instances)",
        origin="instructions in the layout of Stanford Alpaca; licence of the file",
        dimension="instruction",
        read=generated.read_instructions,
        template=generated.alpaca,
        **rest,
    )


def _flores(source: str, target: str, tokenizer: str) -> Task:
    return Task(
        f"flores200_{source[:2]}_{target[:2]}",
        lambda doc: generated.flores(doc, source, target),
        reads="flores200_dataset with devtest/eng_Latn.devtest, zho_Hans.devtest; or its Parquet",
        origin="FLORES-200 (Costa-jussà et al. 2022), CC BY-SA 4.0",
        dimension="language",
        metrics=("bleu", "chrf"),
        kind="generation",
        read=generated.read_flores,
        header={
            "stop": ["\n"],
            "max_tokens": 256,
            "filter": "strip",
            "bleu_tokenizer": tokenizer,
        },
    )


_LETTER = {
    "kind": "generation",
    "dimension": "knowledge",
    "metrics": ("exact_match",),
    "chance": 0.25,
}


_SUMMARY = {
    "kind": "generation",
    "dimension": "summarising",
    "metrics": _ROUGE,
    "chance": None,
}

_ROWS = (
    Task(
        "mmlu",
        choice.mmlu,
        reads="folder with dev/*_dev.csv and test/*_test.csv; or Parquet",
        origin="MMLU (Hendrycks et al. 2021), MIT",
        dimension="knowledge",
        metrics=("acc",),
        read=choice.read_mmlu,
        chance=GUESS,
        examples=choice.read_mmlu_examples,
        shots=5,
        rule="first",
        grouped=True,
        description=choice.mmlu_description,
    ),
    Task(
        "mmlu_generated",
        generated.mmlu_generated,
        reads="folder with test/*_test.csv; or Parquet",
        origin="MMLU (Hendrycks et al. 2021), MIT; the model writes a letter",
        read=choice.read_mmlu,
        header={"max_tokens": 32, "filter": {"regex": r"\b([ABCD])\b"}},
        **_LETTER,
    ),
    Task(
        "ceval",
        choice.ceval,
        reads="folder with dev/*_dev.csv, val/*_val.csv (and subject_mapping.json); or Parquet",
        origin="C-Eval (Huang et al. 2023), CC BY-NC-SA 4.0",
        dimension="knowledge",
        metrics=("acc",),
        read=choice.read_ceval,
        chance=GUESS,
        examples=choice.read_ceval_examples,
        shots=5,
        rule="first",
        grouped=True,
        description=choice.ceval_description,
    ),
    Task(
        "ceval_generated",
        generated.ceval_generated,
        reads="folder with val/*_val.csv; or Parquet",
        origin="C-Eval (Huang et al. 2023), CC BY-NC-SA 4.0; the model writes a letter",
        read=choice.read_ceval,
        header={"max_tokens": 32, "filter": {"regex": r"(?<![A-Za-z])([ABCD])(?![A-Za-z])"}},
        **_LETTER,
    ),
    Task(
        "hellaswag",
        choice.hellaswag,
        reads="hellaswag_val.jsonl, or Parquet",
        origin="HellaSwag (Zellers et al. 2019), MIT",
        dimension="reasoning",
        metrics=("acc", "acc_norm"),
        chance=GUESS,
        one_more=True,
    ),
    Task(
        "piqa",
        choice.piqa,
        reads="valid.jsonl, labels inside or in valid-labels.lst",
        origin="PIQA (Bisk et al. 2020), AFL-3.0",
        dimension="reasoning",
        metrics=("acc", "acc_norm"),
        read=choice.read_piqa,
        chance=GUESS,
        one_more=True,
    ),
    Task(
        "winogrande",
        choice.winogrande,
        reads="dev.jsonl, or Parquet",
        origin="WinoGrande (Sakaguchi et al. 2020), CC BY 4.0",
        dimension="reasoning",
        metrics=("acc",),
        chance=GUESS,
        one_more=True,
    ),
    _arc("arc_easy"),
    _arc("arc_challenge"),
    Task(
        "boolq",
        choice.boolq,
        reads="dev.jsonl, or val.jsonl of SuperGLUE, or Parquet",
        origin="BoolQ (Clark et al. 2019), CC BY-SA 3.0",
        dimension="reasoning",
        metrics=("acc",),
        chance=GUESS,
        one_more=True,
    ),
    Task(
        "openbookqa",
        choice.openbookqa,
        reads="test.jsonl, or Parquet",
        origin="OpenBookQA (Mihaylov et al. 2018)",
        dimension="knowledge",
        metrics=("acc", "acc_norm"),
        chance=GUESS,
    ),
    Task(
        "rte",
        choice.rte,
        reads="dev.tsv of GLUE, or JSON lines",
        origin="RTE (GLUE, Wang et al. 2019)",
        dimension="reasoning",
        metrics=("acc",),
        read=choice.read_rte,
        chance=GUESS,
        one_more=True,
    ),
    Task(
        "commonsense_qa",
        choice.commonsenseqa,
        reads="dev_rand_split.jsonl, or Parquet",
        origin="CommonsenseQA (Talmor et al. 2019), MIT",
        dimension="reasoning",
        metrics=("acc",),
        chance=GUESS,
        one_more=True,
    ),
    _truthfulqa("truthfulqa_mc1", choice.truthfulqa_mc1, "acc"),
    _truthfulqa("truthfulqa_mc2", choice.truthfulqa_mc2, "mc2"),
    Task(
        "bbq",
        choice.bbq,
        reads="Age.jsonl, ... : a category, or the folder of all",
        origin="BBQ (Parrish et al. 2022), CC BY 4.0",
        dimension="alignment",
        metrics=("acc", "bias"),
    ),
    Task(
        "truthfulqa_question",
        choice.truthfulqa_question,
        reads="TruthfulQA.csv, mc_task.json, or Parquet (multiple_choice)",
        origin="TruthfulQA (Lin et al. 2022), Apache-2.0; the question alone",
        dimension="alignment",
        metrics=("acc_tokens", "acc"),
        read=choice.read_truthfulqa,
        chance=GUESS,
    ),
    Task(
        "bbq_answers",
        choice.bbq_answers,
        reads="Age.jsonl, ... : a category, or the folder of all",
        origin="BBQ (Parrish et al. 2022), CC BY 4.0; the three answers as published",
        dimension="alignment",
        metrics=("acc_tokens", "acc", "bias"),
    ),
    Task(
        "lambada",
        scored.lambada,
        reads="lambada_test.jsonl, or plain text with a passage a line",
        origin="LAMBADA (Paperno et al. 2016), CC BY 4.0",
        dimension="language",
        metrics=("acc", "perplexity"),
        kind="continuation",
        read=scored.read_lambada,
        chance=0.0,
    ),
    Task(
        "blimp",
        scored.blimp,
        reads="a phenomenon's JSON lines, or the folder of all",
        origin="BLiMP (Warstadt et al. 2020), CC BY 4.0",
        dimension="language",
        metrics=("acc",),
        kind="pairs",
        read=scored.read_blimp,
        chance=0.5,
        delimiter=" ",
    ),
    Task(
        "crows_pairs",
        scored.crows_pairs,
        reads="crows_pairs_anonymized.csv",
        origin="CrowS-Pairs (Nangia et al. 2020), CC BY-SA 4.0",
        dimension="alignment",
        metrics=("pct_stereotype", "likelihood_diff"),
        kind="pairs",
        read=scored.read_crows_pairs,
        chance=0.5,
    ),
    Task(
        "wikitext",
        scored.wikitext,
        reads="wiki.test.raw, or JSON lines with a page",
        origin="WikiText-2 (Merity et al. 2017), CC BY-SA 3.0",
        dimension="language",
        metrics=("word_perplexity", "byte_perplexity", "bits_per_byte"),
        kind="rolling",
        read=scored.read_wikitext,
    ),
    Task(
        "nq_open",
        generated.nq_open,
        reads="NQ-open.dev.jsonl, or Parquet",
        origin="NQ-open (Lee et al. 2019), CC BY-SA 3.0",
        dimension="knowledge",
        metrics=_MATCHES,
        kind="generation",
        chance=0.0,
        header={**_SHORT_ANSWER, "ignore": [r"\b(?:The |the |An |A |a |an )"]},
        one_more=True,
        between="\n",
        description=lambda _: "Answer these questions:\n\n",
    ),
    Task(
        "triviaqa",
        generated.triviaqa,
        reads="unfiltered-web-dev.json, web-dev.json, ...",
        origin="TriviaQA (Joshi et al. 2017), Apache-2.0",
        dimension="knowledge",
        metrics=_MATCHES,
        kind="generation",
        read=generated.read_triviaqa,
        chance=0.0,
        header=_SHORT_ANSWER,
        one_more=True,
    ),
    Task(
        "freebaseqa",
        generated.freebaseqa,
        reads="FreebaseQA-eval.json",
        origin="FreebaseQA (Jiang et al. 2019)",
        dimension="knowledge",
        metrics=("em_relaxed", "exact_match", "f1"),
        kind="generation",
        read=generated.read_freebaseqa,
        chance=0.0,
        header={
            "stop": ["\n"],
            "max_tokens": 32,
            "filter": "first_line",
            "normalize": "llm_kick",
        },
    ),
    Task(
        "squad",
        retrieval.squad,
        reads="dev-v1.1.json, dev-v2.0.json, xquad.en.json",
        origin="SQuAD (Rajpurkar et al. 2016) or a set in its layout, CC BY-SA 4.0",
        dimension="retrieval",
        metrics=("em_relaxed", "f1", "exact_match"),
        kind="generation",
        read=retrieval.read_squad,
        chance=0.0,
        header={"stop": ["\n"], "max_tokens": 32, "filter": "first_line", "normalize": "squad"},
        modes=retrieval.MODES,
    ),
    _gsm8k("gsm8k", r"#### (\-?[0-9\.\,]+)", 1, "first"),
    _gsm8k("gsm8k_flexible", r"(-?[$0-9.,]{2,})|(-?[0-9]+)", 0, "last"),
    Task(
        "gsm8k_question",
        generated.gsm8k_question,
        reads="test.jsonl, or Parquet",
        origin="GSM8K (Cobbe et al. 2021), MIT; the question alone",
        dimension="arithmetic",
        metrics=("contains_number", "contains_word"),
        kind="generation",
        chance=0.0,
        header={"max_tokens": 512},
    ),
    Task(
        "snli",
        generated.snli,
        reads="snli_1.0_test.jsonl, or Parquet",
        origin="SNLI (Bowman et al. 2015), CC BY-SA 4.0; the model writes yes, no or maybe",
        dimension="language",
        metrics=("contains_word",),
        kind="generation",
        read=generated.read_snli,
        chance=0.0,
        header={"max_tokens": 32, "stop": ["\n"]},
    ),
    _flores("eng_Latn", "zho_Hans", "zh"),
    _flores("zho_Hans", "eng_Latn", "13a"),
    Task(
        "bbh",
        generated.bbh,
        reads="a task's JSON file, or the folder of all, with ../cot-prompts for what is asked",
        origin="BIG-Bench Hard (Suzgun et al. 2023), MIT",
        dimension="reasoning",
        metrics=("exact_match",),
        kind="generation",
        read=generated.read_bbh,
        header={
            "stop": ["</s>", "Q:", "<|im_end|>"],
            "max_tokens": 64,
            "filter": "strip",
            "normalize": "harness",
            "ignore_case": True,
            "ignore": [r"\.$", ",", "\n", r"\\", '"'],
        },
        shots=3,
        grouped=True,
        description=generated.bbh_description,
    ),
    Task(
        "cnn_stories",
        generated.cnn_stories,
        reads="folder of .story files; or CSV, JSON lines, Parquet (article, highlights)",
        origin="CNN/DailyMail (Hermann et al. 2015), prompt of LLM-KICK",
        read=generated.read_stories,
        header={"max_tokens": 256},
        **{**_SUMMARY, "metrics": (*_ROUGE, "checks")},
    ),
    Task(
        "cnn_dailymail",
        generated.cnn_dailymail,
        reads="folder of .story files; or CSV, JSON lines, Parquet (article, highlights)",
        origin="CNN/DailyMail (Hermann et al. 2015)",
        read=generated.read_stories,
        header={"max_tokens": 128, "stop": ["\n\n"]},
        **_SUMMARY,
    ),
    Task(
        "xsum",
        generated.xsum,
        reads="JSON lines or Parquet (document, summary, id)",
        origin="XSum (Narayan et al. 2018), MIT",
        header={"max_tokens": 64, "stop": ["\n"], "filter": "strip"},
        **_SUMMARY,
    ),
    Task(
        "scitldr",
        generated.scitldr,
        reads="SciTLDR-A/test.jsonl, or Parquet",
        origin="SciTLDR (Cachola et al. 2020), Apache-2.0",
        header={"max_tokens": 64, "stop": ["\n"], "filter": "strip"},
        **_SUMMARY,
    ),
    _instructions(
        "instructions",
        generated.instructions,
        metrics=_ROUGE,
        kind="generation",
        header={"max_tokens": 256, "filter": "strip"},
    ),
    _instructions(
        "instructions_calibration",
        generated.calibration,
        metrics=(),
        kind=CALIBRATION,
    ),
    Task(
        "gsm8k_calibration",
        generated.question_calibration,
        reads="train.jsonl, or Parquet",
        origin="GSM8K (Cobbe et al. 2021), MIT",
        dimension="arithmetic",
        metrics=(),
        kind=CALIBRATION,
    ),
    Task(
        "squad_calibration",
        retrieval.squad_calibration,
        reads="train-v1.1.json, train-v2.0.json",
        origin="SQuAD (Rajpurkar et al. 2016) or a set in its layout, CC BY-SA 4.0",
        dimension="retrieval",
        metrics=(),
        kind=CALIBRATION,
        read=retrieval.read_squad,
        modes=retrieval.MODES,
    ),
    Task(
        "conversations_calibration",
        generated.question_calibration,
        reads="JSON, JSON lines, Parquet: conversations (from, value) or messages (role, content)",
        origin="conversations in the layout of ShareGPT or of chat messages; licence of the file",
        dimension="instruction",
        metrics=(),
        kind=CALIBRATION,
        read=generated.read_conversations,
    ),
    Task(
        "ifeval",
        constraints.ifeval,
        reads="input_data.jsonl, or Parquet",
        origin="IFEval (Zhou et al. 2023), Apache-2.0",
        dimension="instruction",
        metrics=("checks", "checks_each", "checks_loose", "checks_each_loose"),
        kind="generation",
        read=constraints.read_ifeval,
        header={"max_tokens": 1280},
    ),
    Task(
        "followbench",
        constraints.followbench,
        reads="folder with content_constraints.json, example_constraints.json, ...",
        origin="FollowBench (Jiang et al. 2023), Apache-2.0; what its rules judge",
        dimension="instruction",
        metrics=("checks", "levels"),
        kind="generation",
        read=constraints.read_followbench,
        header={"max_tokens": 1024},
    ),
    Task(
        "chat",
        generated.chat,
        reads="question.jsonl of MT-bench or Vicuna-bench",
        origin="MT-bench (Zheng et al. 2023), Apache-2.0",
        dimension="instruction",
        metrics=("checks",),
        kind="generation",
        read=generated.read_chat,
        header={"max_tokens": 256},
        template=generated.alpaca,
    ),
)

TASKS: dict[str, Task] = {row.name: row for row in _ROWS}
